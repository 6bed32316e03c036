// What our components share; curation.views.component puts it before each component's own script.

function mounted(component, selector, createView) {
  const root = component.parentElement.querySelector(selector);
  const view = (root.__view ||= createView(root));
  view.component = component;
  view.show(component.data);
}

function element(kind, className, text) {
  const node = document.createElement(kind);
  if (className) node.className = className;
  if (text !== undefined && text !== null) node.textContent = text;
  return node;
}
