// Making and changing elements. What comes from outside gets into the page as text, and through here alone.

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element with attributes and children; strings become text.
 * @param {string} name
 * @param {Record<string, string | number | boolean | ((event: Event) => void)>} [attributes] a function listens to an event
 * @param {...(Node | string)} children
 */
export function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** The same for a part of a drawing. */
export function shape(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

/** Set an element's text, if it has another one. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * Have a parent show these items, each as an element of its own that stays the same as long as the item is there, so
 * that whoever is at it with the keyboard stays there.
 * @template T
 * @param {Element} parent
 * @param {Iterable<T>} items
 * @param {{key: (item: T) => string, make: (item: T) => Element, show?: (node: Element, item: T) => void}} how `show` is for
 *   items that change
 */
export function showEach(parent, items, { key, make, show = () => {} }) {
  const before = parent.shown ?? new Map();
  const after = new Map();
  for (const item of items) {
    const node = before.get(key(item)) ?? make(item);
    show(node, item);
    after.set(key(item), node);
  }
  const kept = new Set(after.values());
  for (const node of [...parent.children]) if (!kept.has(node)) node.remove();
  let at = parent.firstElementChild;
  for (const node of kept) {
    if (node === at) at = at.nextElementSibling;
    else parent.insertBefore(node, at);
  }
  parent.shown = after;
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (typeof value === "boolean") node.toggleAttribute(name, value);
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}
