"""
Kernels that start warm: one process imports the libraries once and forks a fresh kernel for each notebook.

A kernel of its own would spend two CPU seconds on importing NumPy, astropy and matplotlib, a hundred times over. The
package itself is not imported beforehand, and a forked kernel shares nothing with the next one.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

KERNEL = "warm"
LIBRARIES = (
    *("ipykernel.kernelapp", "ipykernel.datapub", "matplotlib_inline.backend_inline", "matplotlib.pyplot", "numpy"),
    *("scipy.special", "scipy.optimize", "astropy.units", "astropy.table", "astropy.io.fits", "astropy.coordinates"),
    *("astropy.time", "h5py", "pydantic", "yaml", "ipywidgets", "IPython.display"),
)


@contextlib.contextmanager
def warm_kernels() -> Iterator[str]:
    """Offer a kernel specification for as long as the block runs; give its name."""
    folder = Path(tempfile.mkdtemp(prefix="warm-"))
    address = folder / "socket"
    place = folder / "kernels" / KERNEL
    place.mkdir(parents=True)
    command = [sys.executable, "-S", "-E", __file__, "start", str(address), "{connection_file}"]
    (place / "kernel.json").write_text(json.dumps({"argv": command, "display_name": KERNEL, "language": "python"}))
    before = os.environ.get("JUPYTER_PATH")
    os.environ["JUPYTER_PATH"] = str(folder) + (os.pathsep + before if before else "")
    server = subprocess.Popen([sys.executable, __file__, "serve", str(address)], stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        server.stdout.readline()  # it listens
        yield KERNEL
    finally:
        server.kill()
        server.wait()
        os.environ.pop("JUPYTER_PATH") if before is None else os.environ.update(JUPYTER_PATH=before)
        shutil.rmtree(folder, ignore_errors=True)


def serve(address: str) -> None:
    """Import the libraries, then fork a kernel for whoever asks; runs until it is killed."""
    import importlib
    import signal
    import warnings

    warnings.simplefilter("ignore")
    for name in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    warnings.resetwarnings()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the kernels but their starters
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        print("ready", flush=True)
        while True:
            asked, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                become_kernel(asked)
            asked.close()


def become_kernel(asked: socket.socket) -> None:
    """Turn this fork into the kernel that was asked for, and end with its starter."""
    import signal

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    text, handles, _, _ = socket.recv_fds(asked, 1 << 20, 3)
    wanted = json.loads(text)
    for number, handle in enumerate(handles):
        os.dup2(handle, number)
    os.setsid()
    os.chdir(wanted["folder"])
    os.environ.clear()
    os.environ.update(wanted["environment"])
    sys.path[:] = [path for path in wanted["path"] if path] + [each for each in sys.path[1:] if each]
    threading.Thread(target=lambda: (asked.recv(1), os._exit(1)), daemon=True).start()
    from ipykernel.kernelapp import IPKernelApp

    arguments = [*wanted["arguments"], f"--IPKernelApp.parent_handle={os.getppid()}"]  # no words for a terminal
    sys.argv = ["kernel", *arguments]
    IPKernelApp.launch_instance(argv=arguments)
    os._exit(0)


def start(address: str, arguments: list[str]) -> None:
    """Ask for a kernel, and live as long as it does: what ends this process ends the kernel."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt at the end of a notebook is meant for the kernel
    environment = {key: value for key, value in os.environ.items() if key != "JPY_PARENT_PID"}
    path = environment.get("PYTHONPATH", "").split(os.pathsep)
    wanted = {"folder": os.getcwd(), "environment": environment, "arguments": arguments, "path": path}
    with socket.socket(socket.AF_UNIX) as asked:
        asked.connect(address)
        socket.send_fds(asked, [json.dumps(wanted).encode()], [0, 1, 2])
        asked.recv(1)  # nothing comes; it returns when the kernel has ended


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        start(sys.argv[2], ["-f", *sys.argv[3:]])
