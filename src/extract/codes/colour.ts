/**
 * The brightness of a colour as HTML and CSS write it.
 */

const NAMES: ReadonlyMap<string, number> = new Map([
  ["black", 0x000000],
  ["white", 0xffffff],
  ["gray", 0x808080],
  ["grey", 0x808080],
  ["silver", 0xc0c0c0],
  ["maroon", 0x800000],
  ["red", 0xff0000],
  ["purple", 0x800080],
  ["fuchsia", 0xff00ff],
  ["magenta", 0xff00ff],
  ["green", 0x008000],
  ["lime", 0x00ff00],
  ["olive", 0x808000],
  ["yellow", 0xffff00],
  ["navy", 0x000080],
  ["blue", 0x0000ff],
  ["teal", 0x008080],
  ["aqua", 0x00ffff],
  ["cyan", 0x00ffff],
  ["orange", 0xffa500],
  ["darkblue", 0x00008b],
  ["darkred", 0x8b0000],
  ["darkgreen", 0x006400],
  ["dimgray", 0x696969],
  ["darkgray", 0xa9a9a9],
  ["lightgray", 0xd3d3d3],
  ["lightgrey", 0xd3d3d3],
  ["whitesmoke", 0xf5f5f5],
  ["ivory", 0xfffff0],
]);

const HEX = /#?([0-9a-f]{3,8})(?![0-9a-z])/i;
const RGB = /rgba?\(\s*(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})(?:\s*[,/]\s*([\d.]{1,6})(%?))?/i;

/** 0 (black) to 255 (white) of the first colour in a value; null where there is none, or it is transparent. */
export function greyOf(value: string): number | null {
  const text = value.slice(0, 200).trim();
  if (text === "") return null;
  const rgb = RGB.exec(text);
  if (rgb !== null) {
    if (rgb[4] !== undefined && Number(rgb[4]) === 0) return null;
    return brightness(Number(rgb[1]), Number(rgb[2]), Number(rgb[3]));
  }
  const name = NAMES.get(/^[a-z]+/i.exec(text)?.[0].toLowerCase() ?? "");
  if (name !== undefined) return fromNumber(name);
  const hex = HEX.exec(text)?.[1];
  if (hex === undefined) return null;
  if (hex.length === 3 || hex.length === 4) {
    const [red = "0", green = "0", blue = "0"] = hex;
    return hex[3] === "0" ? null : fromNumber(Number.parseInt(red + red + green + green + blue + blue, 16));
  }
  return hex.length < 6 || hex.slice(6) === "00" ? null : fromNumber(Number.parseInt(hex.slice(0, 6), 16));
}

const fromNumber = (colour: number): number => brightness(colour >> 16, (colour >> 8) & 0xff, colour & 0xff);

const brightness = (red: number, green: number, blue: number): number =>
  Math.min(255, Math.round(0.299 * red + 0.587 * green + 0.114 * blue));
