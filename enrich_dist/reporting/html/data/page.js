"use strict";
// Draws each chart in the colours of the page when it comes near the viewport, so that long pages open fast.
(() => {
  const charts = JSON.parse(document.getElementById("charts").textContent);
  const narrow = window.matchMedia("(max-width: 40rem)");
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const mouse = window.matchMedia("(pointer: fine)");
  const MAX_LABEL = { narrow: 16, wide: 34 };

  function coloured(value, style) {
    if (typeof value === "string") {
      return value.startsWith("var:") ? style.getPropertyValue("--" + value.slice(4)).trim() : value;
    }
    if (Array.isArray(value)) return value.map((item) => coloured(item, style));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, coloured(item, style)]));
    }
    return value;
  }

  // Names come from the data, and plotly renders tags in a text as markup.
  function escaped(text) {
    return String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  }

  function label(text) {
    const whole = String(text);
    const limit = narrow.matches ? MAX_LABEL.narrow : MAX_LABEL.wide;
    return escaped(whole.length > limit ? whole.slice(0, limit - 1) + "…" : whole);
  }

  function axis(given, style, zoom) {
    const own = Object.assign(
      { gridcolor: "var:rule", linecolor: "var:rule", zerolinecolor: "var:rule", fixedrange: !zoom, automargin: true },
      given,
    );
    if (own.ticktext) own.ticktext = own.ticktext.map(label);
    return coloured(own, style);
  }

  function texts(trace) {
    const own = Object.assign({}, trace);
    if (narrow.matches && own.meta && own.meta.short) own.text = own.meta.short;
    for (const key of ["text", "customdata"]) {
      if (Array.isArray(own[key])) own[key] = own[key].map((item) => (typeof item === "string" ? escaped(item) : item));
    }
    if (own.name) own.name = escaped(own.name);
    return own;
  }

  function draw(element) {
    const { data, layout } = charts[element.dataset.chart];
    const style = getComputedStyle(document.documentElement);
    const zoom = Boolean(layout.meta && layout.meta.zoom) && mouse.matches && !narrow.matches;
    const whole = Object.assign({}, coloured(layout, style), {
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: style.getPropertyValue("--ink").trim(), family: "system-ui, sans-serif", size: 13 },
      margin: { l: 8, r: narrow.matches ? 8 : 24, t: 12, b: layout.xaxis && layout.xaxis.visible === false ? 8 : 40 },
      legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0, itemclick: false, itemdoubleclick: false },
      dragmode: zoom ? "zoom" : false,
      xaxis: axis(layout.xaxis || {}, style, zoom),
      yaxis: axis(layout.yaxis || {}, style, false),
    });
    const options = { displayModeBar: false, responsive: true, scrollZoom: false, doubleClick: zoom ? "reset" : false };
    return Plotly.react(element, coloured(data, style).map(texts), whole, options).then(() => {
      element.dataset.drawn = "yes";
    });
  }

  const elements = Array.from(document.querySelectorAll("[data-chart]"));
  const drawn = new Set();
  const seen = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        if (entry.isIntersecting && !drawn.has(entry.target)) {
          drawn.add(entry.target);
          draw(entry.target);
        }
      }
    },
    { rootMargin: "600px" },
  );
  elements.forEach((element) => seen.observe(element));
  const redraw = () => drawn.forEach((element) => draw(element));
  dark.addEventListener("change", redraw);
  narrow.addEventListener("change", redraw);
  window.addEventListener("beforeprint", () => elements.forEach((element) => drawn.add(element) && draw(element)));
})();
