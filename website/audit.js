// What is wrong with the page that is shown, as a list of sentences; `layout` and `content` are called by check.py.
(() => {
  // A box that scrolls may hold something wider than the window, if it lies within the window itself.
  const hiding = ["hidden", "clip"], scrolling = ["auto", "scroll"];
  const name = (element) => {
    const classes = [...element.classList].slice(0, 2).map((one) => "." + one).join("");
    const text = (element.textContent || "").trim().replace(/\s+/g, " ").slice(0, 50);
    return element.tagName.toLowerCase() + classes + (text ? ` "${text}"` : "");
  };
  const shown = (element) => {
    const box = element.getBoundingClientRect();
    return box.width > 1 && box.height > 1 && element.checkVisibility({ visibilityProperty: true, opacityProperty: true });
  };
  const scrolls = (element) => {
    for (let each = element; each && each !== document.body; each = each.parentElement)
      if (scrolling.includes(getComputedStyle(each).overflowX)) {
        const box = each.getBoundingClientRect();
        if (box.left >= -1 && box.right <= document.documentElement.clientWidth + 1) return true;
      }
    return false;
  };
  const clipped = (element) => {
    const style = getComputedStyle(element);
    const wide = hiding.includes(style.overflowX) && element.scrollWidth > element.clientWidth + 1;
    const high = hiding.includes(style.overflowY) && element.scrollHeight > element.clientHeight + 2;
    return element.clientWidth > 1 && element.clientHeight > 1 && (wide || high);
  };
  const squeezed = (element) => {
    const lone = element.children.length === 0 && element.matches("p, td, th, li, span, a, code");
    return lone && element.textContent.trim().length > 20 && element.clientWidth > 0 && element.clientWidth < 40;
  };
  const innermost = (elements) => elements.filter((one) => !elements.some((other) => other !== one && one.contains(other)));
  const inPicture = (element) => element.closest("svg, mjx-container") !== null;

  const layout = () => {
    const width = document.documentElement.clientWidth, found = [];
    const all = [...document.body.querySelectorAll("*")].filter((one) => !inPicture(one) && shown(one));
    if (document.documentElement.scrollWidth > width + 1)
      found.push(`the page scrolls sideways (${document.documentElement.scrollWidth} px)`);
    const beyond = all.filter((one) => {
      const box = one.getBoundingClientRect();
      return (box.right > width + 1 || box.left < -1) && !scrolls(one);
    });
    for (const one of innermost(beyond).slice(0, 5)) found.push(`reaches beyond the window: ${name(one)}`);
    for (const one of innermost(all.filter(clipped)).slice(0, 5)) found.push(`is cut off in its box: ${name(one)}`);
    for (const one of all.filter(squeezed).slice(0, 5)) found.push(`text is squeezed: ${name(one)}`);
    return found;
  };

  const formulas = () => {
    const found = [];
    for (const one of document.querySelectorAll(".math"))
      if (!one.querySelector("mjx-container svg")) found.push(`formula is not typeset: ${name(one)}`);
    for (const one of document.querySelectorAll('mjx-merror, [data-mml-node="merror"]'))
      found.push(`formula has an error: ${name(one.closest(".math") || one)}`);
    const text = document.createTreeWalker(document.querySelector("main") || document.body, NodeFilter.SHOW_TEXT);
    while (text.nextNode())
      if (/\$\$|\\\(|\\\[/.test(text.currentNode.data) && !text.currentNode.parentElement.closest("pre, code, script, style"))
        found.push(`formula is left as text: "${text.currentNode.data.trim().slice(0, 50)}"`);
    return found;
  };
  const figures = () => {
    const found = [];
    for (const one of document.querySelectorAll("main img, body > img")) {
      const words = (one.getAttribute("alt") || "").trim(), file = one.getAttribute("src").slice(-40);
      if (!one.complete || !one.naturalWidth) found.push(`figure is not loaded: ${file}`);
      if (words.split(/\s+/).length < 3 || /\.(png|svg|jpe?g|gif)$/i.test(words))
        found.push(`figure has no alternative text that says something: ${file} "${words}"`);
    }
    return found;
  };
  const drawn = (script) => {
    const area = script.previousElementSibling;
    return area && area.matches(".widget-subarea") && area.querySelector(".jupyter-widgets, .lm-Widget") !== null && shown(area);
  };
  const waiting = () => [...document.querySelectorAll('script[type="application/vnd.jupyter.widget-view+json"]')].filter((one) => !drawn(one));
  const widgets = () => waiting().map((one) => `widget is not drawn: ${one.textContent.trim().slice(0, 60)}`);

  const links = () => [...document.querySelectorAll("a[href]")].map((one) => one.href);
  const anchors = () => [...document.querySelectorAll("[id]")].map((one) => one.id);
  const ready = () => waiting().length === 0 && [...document.images].every((one) => one.complete);
  const content = () => [...formulas(), ...figures(), ...widgets()];
  window.audit = { layout, content, links, anchors, ready };
})();
