// A part that scrolls by itself can be reached by the keyboard, and only as long as it does scroll.

export function scrolls(node: HTMLElement) {
  const look = () => {
    if (node.scrollWidth > node.clientWidth + 1 || node.scrollHeight > node.clientHeight + 1) node.tabIndex = 0;
    else node.removeAttribute("tabindex");
  };
  const watch = new ResizeObserver(look);
  watch.observe(node);
  if (node.firstElementChild) watch.observe(node.firstElementChild);
  look();
  return { destroy: () => watch.disconnect() };
}
