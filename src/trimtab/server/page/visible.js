// Elements, and texts in which nothing is invisible. Texts are inserted as text, never as HTML.

export function element(tag, options = {}, ...children) {
  const made = document.createElement(tag);
  const { className, ...attributes } = options;
  if (className) made.className = className;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

export function byId(id) {
  return document.getElementById(id);
}

// A token's text in one line, for lists: line breaks and spaces at the ends are shown.
export function inOneLine(text) {
  if (text === "") return "∅";
  return text.replaceAll("\n", "↵").replaceAll("\t", "⇥").replace(/^ | $/g, "␣");
}

export function percent(logprob) {
  const share = 100 * Math.exp(logprob);
  if (share > 0 && share < 0.1) return "<0.1 %";
  return `${share.toFixed(share < 10 ? 1 : 0)} %`;
}

export function signed(value, digits = 2) {
  const text = Math.abs(value).toFixed(digits);
  if (Number(text) === 0) return text;
  return (value < 0 ? "−" : "+") + text;
}

// Colour an element by where a value stands between -1 and 1.
export function paint(target, value) {
  target.classList.toggle("low", value < 0);
  target.classList.toggle("high", value >= 0);
  target.style.setProperty("--share", `${Math.round(100 * Math.min(1, Math.abs(value)))}%`);
}
