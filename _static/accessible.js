/* What the theme leaves undone for readers who use the keyboard. */

// It takes the focus from a button that was pressed, to close its tooltip; from the keyboard, the place is lost with it.
let pressed;
document.addEventListener("click", event => {
  const button = event.target.closest("button");
  if (!button || event.detail > 0) return; // a mouse or a finger
  pressed = button;
  setTimeout(() => document.activeElement === document.body && button.focus());
}, true);

document.addEventListener("close", event => {
  if (event.target.matches("#pst-primary-sidebar-modal, #pst-secondary-sidebar-modal")) setTimeout(() => pressed?.focus());
}, true);

// It looks once which boxes scroll, and then only when the window changes: not when folded code is opened.
document.addEventListener("toggle", () => window.dispatchEvent(new Event("resize")), true);

// It leaves out formulas: those that are too wide are stops of the Tab key, to be scrolled, and no others.
const letFormulasScroll = () => {
  for (const formula of document.querySelectorAll('mjx-container[display="true"]'))
    formula.tabIndex = formula.scrollWidth > formula.clientWidth ? 0 : -1;
};
window.addEventListener("load", () => window.MathJax?.startup?.promise?.then(letFormulasScroll));
window.addEventListener("resize", letFormulasScroll);
