// How many texts a page shows, and those that stand out too little from what is behind them
// (WCAG 2.2, 1.4.3: 4.5 to 1).
const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
const rgba = (color) => {
  canvas.clearRect(0, 0, 1, 1);
  canvas.fillStyle = color;
  canvas.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
  return [r, g, b, a / 255];
};
const over = (top, ground) => top.slice(0, 3).map((c, i) => c * top[3] + ground[i] * (1 - top[3]));
const luminance = (color) => {
  const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const [r, g, b] = color.map((c) => linear(c / 255));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (element) => {
  const found = [];
  for (let one = element; one; one = one.parentElement) {
    const color = rgba(getComputedStyle(one).backgroundColor);
    found.push(color);
    if (color[3] === 1) break;
  }
  return found.reverse().reduce((ground, color) => over(color, ground), [255, 255, 255]);
};
const opacity = (element) => {
  let found = 1;
  for (let one = element; one; one = one.parentElement) found *= getComputedStyle(one).opacity;
  return found;
};
const textOf = ({ childNodes }) =>
  [...childNodes]
    .filter((node) => node.nodeType === 3)
    .map((node) => node.data.trim())
    .join("");

function faint() {
  const bad = [];
  let count = 0;
  for (const element of document.querySelectorAll("body *")) {
    const text = textOf(element);
    if (!text || !element.checkVisibility() || element.closest(".visually-hidden, .skip")) continue;
    const ground = behind(element);
    const [r, g, b, a] = rgba(getComputedStyle(element).color);
    const [one, other] = [
      luminance(over([r, g, b, a * opacity(element)], ground)),
      luminance(ground),
    ];
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    count += 1;
    if (ratio < 4.5) bad.push(`${ratio.toFixed(2)}: ${text.slice(0, 40)}`);
  }
  return [count, bad];
}
