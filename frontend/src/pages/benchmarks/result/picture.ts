/** The charts of a panel as one PNG file, as they are seen. */

const SPACE = 16;
const LINE = 18;

/** Draw every chart below one another with its title and words, and have the browser save it. */
export function savePicture(panel: HTMLElement, title: string, file: string): void {
  const figures = [...panel.querySelectorAll("figure")].flatMap((figure) => {
    const canvas = figure.querySelector("canvas");
    return canvas ? [{ figure, canvas }] : [];
  });
  const scale = devicePixelRatio || 1;
  const width = Math.max(...figures.map(({ canvas }) => canvas.width)) + 2 * SPACE * scale;
  const height = figures.reduce((sum, { canvas }) => sum + canvas.height + (2 * LINE + SPACE) * scale, 0);
  const picture = document.createElement("canvas");
  picture.width = width;
  picture.height = height + (LINE + 2 * SPACE) * scale;
  const pen = picture.getContext("2d");
  if (pen === null || !figures.length) return;
  const colours = getComputedStyle(panel);
  pen.fillStyle = getComputedStyle(panel.closest(".page-panel") ?? panel).backgroundColor;
  pen.fillRect(0, 0, picture.width, picture.height);
  pen.fillStyle = colours.color;
  const write = (text: string, size: number, bold: boolean, y: number) => {
    // @wc-ignore
    pen.font = `${bold ? "600 " : ""}${size * scale}px ${colours.fontFamily}`;
    pen.fillText(text, SPACE * scale, y, width - 2 * SPACE * scale);
  };
  let y = (SPACE + LINE / 2) * scale;
  write(title, 15, true, y);
  for (const { figure, canvas } of figures) {
    y += (LINE + SPACE / 2) * scale;
    write(figure.querySelector("h3")?.textContent ?? "", 13, true, y);
    pen.drawImage(canvas, SPACE * scale, y + (LINE / 2) * scale);
    y += canvas.height + LINE * scale;
    write(figure.querySelector("p")?.textContent ?? "", 11, false, y);
  }
  const link = document.createElement("a");
  link.download = `${file}.png`;
  link.href = picture.toDataURL("image/png");
  link.click();
}
