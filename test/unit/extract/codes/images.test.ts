import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { CODE_FLAGS } from "../../../../src/extract/codes/flags.ts";
import { readImageCodes, readPixelCodes } from "../../../../src/extract/codes/images.ts";
import type { Pixels } from "../../../../src/extract/codes/plane.ts";
import { cpuNow } from "../clock.ts";
import {
  BLACK,
  bmpOf,
  type Drawing,
  draw,
  type Grid,
  gifOf,
  gridOf,
  paint,
  pngFile,
  pngOf,
  WHITE,
} from "./drawings.ts";

const LINK = "https://login.example.test/a?user=1&token=abcdef";
const LIMITS = { codes: 20, pixels: 30_000_000 };
const grid = await gridOf(LINK);
const small = draw(await gridOf("HTTP://A.TEST"), { scale: 2, margin: 4 });

const read = (bytes: Uint8Array, type = "image/png") => readImageCodes(bytes, type, LIMITS);
const found = { values: [LINK], flags: [] };

describe("kinds of files", () => {
  test("PNG", async () => expect(await read(pngOf(draw(grid)))).toEqual(found));

  test("GIF", async () => expect(await read(gifOf([draw(grid)]), "image/gif")).toEqual(found));

  test("BMP", async () => expect(await read(bmpOf(draw(grid)), "image/bmp")).toEqual(found));

  test.each([
    ["baseline JPEG", (image: Bun.Image) => image.jpeg({ quality: 80 })],
    ["progressive JPEG", (image: Bun.Image) => image.jpeg({ quality: 80, progressive: true })],
    ["lossy WebP", (image: Bun.Image) => image.webp({ quality: 70 })],
    ["lossless WebP", (image: Bun.Image) => image.webp({ lossless: true })],
    ["PNG with a palette", (image: Bun.Image) => image.png({ palette: true, colors: 2 })],
  ])("%s", async (_name, encode) => {
    const bytes = await encode(new Bun.Image(pngOf(draw(grid, { scale: 3 })))).bytes();
    expect(await read(bytes)).toEqual(found);
  });

  test("the kind is told from the bytes, not from the type", async () => {
    expect(await read(pngOf(draw(grid)), "text/plain")).toEqual(found);
  });

  test.each([1, 2, 4, 8, 16])("PNG of %d bits of grey, interlaced or not", async (depth) => {
    const picture = draw(grid, { scale: 2, margin: 8 });
    for (const interlaced of [false, true]) {
      expect(await read(greyPng(picture, depth, interlaced))).toEqual(found);
    }
  });

  test("the first frames of a moving GIF", async () => {
    const other = await gridOf("https://second.example.test/");
    const scale = 3;
    const frames = [draw(grid, { scale }), draw(other, { scale }), draw(grid), draw(grid), draw(grid)];
    expect(await read(gifOf(frames), "image/gif")).toEqual({
      values: [LINK, "https://second.example.test/"],
      flags: ["image_frames_exceeded"],
    });
  });

  test("a moving WebP, of which the first frame is read", async () => {
    const still = await new Bun.Image(pngOf(draw(grid))).webp({ lossless: true }).bytes();
    expect(await read(movingWebp(still), "image/webp")).toEqual(found);
  });

  test("a file that is cut off is read as far as it goes", async () => {
    const picture = paint(400, 900, (x, y) =>
      grid.dark(Math.floor((x - 40) / 6), Math.floor((y - 40) / 6))
        ? BLACK
        : (x * y) % 251 < 9 && y > 400
          ? BLACK
          : WHITE,
    );
    const whole = pngOf(picture);
    expect(await read(whole.slice(0, whole.length - 400))).toEqual({
      values: [LINK],
      flags: ["image_damaged"],
    });
    const photo = await new Bun.Image(whole).jpeg({ quality: 70 }).bytes();
    expect(await read(photo.slice(0, photo.length - 400))).toEqual({
      values: [LINK],
      flags: ["image_damaged"],
    });
  });
});

describe("what hides a code", () => {
  const cases: readonly (readonly [string, Drawing])[] = [
    ["one pixel a module", { scale: 1, margin: 4 }],
    ["one pixel a module, to the edge", { scale: 1, margin: 0 }],
    ["no quiet zone", { margin: 0 }],
    ["inverted", { dark: WHITE, light: BLACK }],
    ["inverted, to the edge", { dark: WHITE, light: BLACK, margin: 0 }],
    ["large modules", { scale: 40, margin: 160 }],
    ["little contrast", { dark: [120, 120, 120, 255], light: [132, 132, 132, 255] }],
    ["hardly any contrast", { dark: [253, 253, 253, 255], light: [255, 255, 255, 255] }],
    ["colours of the same brightness", { dark: [255, 0, 0, 255], light: [0, 130, 0, 255] }],
    ["yellow on white", { dark: [255, 255, 0, 255], light: WHITE }],
    ["blue on black", { dark: [0, 0, 60, 255], light: BLACK }],
    ["black on transparent black", { light: [0, 0, 0, 0] }],
    ["white on transparent white", { dark: WHITE, light: [255, 255, 255, 0] }],
    ["white, to the edge, on transparent", { dark: WHITE, light: [0, 0, 0, 0], margin: 0 }],
    ["half transparent", { dark: [0, 0, 0, 60], light: [0, 0, 0, 0] }],
  ];

  test.each(cases)("%s", async (_name, drawing) => {
    expect(await read(pngOf(draw(grid, drawing)))).toEqual(found);
  });

  test("turned by any angle", async () => {
    for (const degrees of [17, 45, 90, 133, 180, 250]) {
      expect(await readPixelCodes(turned(grid, degrees), LIMITS)).toEqual(found);
    }
  });

  test("mirrored", async () => {
    const mirrored: Grid = { ...grid, dark: (x, y) => grid.dark(grid.width - 1 - x, y) };
    expect(await readPixelCodes(draw(mirrored), LIMITS)).toEqual(found);
  });

  test("small in a large picture", async () => {
    const picture = paint(2400, 1600, (x, y) =>
      grid.dark(Math.floor((x - 1900) / 3), Math.floor((y - 1100) / 3))
        ? BLACK
        : x > 1880 && y > 1080
          ? WHITE
          : [(x * 7) % 256, (x + y) % 256, (y * 3) % 256, 255],
    );
    expect((await readPixelCodes(picture, LIMITS)).values).toEqual([LINK]);
  });

  test("several codes, and a faint one beside a plain one", async () => {
    const grids = await Promise.all([0, 1, 2, 3].map((index) => gridOf(`https://e${index}.example.test/x`)));
    const faint = grids[3];
    const picture = paint(800, 300, (x, y) => {
      const one = grids[Math.floor(x / 200)];
      const dark = one?.dark(Math.floor(((x % 200) - 30) / 5), Math.floor((y - 60) / 5)) ?? false;
      return dark ? (one === faint ? [251, 251, 251, 255] : BLACK) : WHITE;
    });
    const { values } = await readPixelCodes(picture, LIMITS);
    expect([...values].sort()).toEqual([0, 1, 2, 3].map((index) => `https://e${index}.example.test/x`));
  });

  test.each(["Aztec", "DataMatrix", "PDF417"] as const)("%s", async (format) => {
    expect(await readPixelCodes(draw(await gridOf(LINK, format)), LIMITS)).toEqual(found);
  });

  test("raw pixels of one and of three bytes", async () => {
    const { width, height, data } = draw(grid);
    const keep = (channels: 1 | 3): Pixels => ({
      width,
      height,
      channels,
      data: data.filter((_, index) => index % 4 < channels),
    });
    expect(await readPixelCodes(keep(1), LIMITS)).toEqual(found);
    expect(await readPixelCodes(keep(3), LIMITS)).toEqual(found);
  });
});

describe("bounds", () => {
  test("an image with too many pixels is not decoded", async () => {
    const limits = { codes: 20, pixels: 10_000 };
    const picture = draw(grid);
    const flagged = { values: [], flags: ["image_too_large"] };
    expect(await readImageCodes(pngOf(picture), "image/png", limits)).toEqual(flagged);
    expect(await readImageCodes(gifOf([picture]), "image/gif", limits)).toEqual(flagged);
    expect(await readImageCodes(bmpOf(picture), "image/bmp", limits)).toEqual(flagged);
    for (const encode of ["jpeg", "webp"] as const) {
      const bytes = await new Bun.Image(pngOf(picture))[encode]().bytes();
      expect(await readImageCodes(bytes, `image/${encode}`, limits)).toEqual(flagged);
    }
    expect(await readPixelCodes(picture, limits)).toEqual(flagged);
  });

  test("a small file that claims to be a huge image costs nothing", async () => {
    const started = cpuNow();
    const bomb = pngFile(60_000, 60_000, 8, 0, new Uint8Array(1_000_000));
    expect(await read(bomb)).toEqual({ values: [], flags: ["image_too_large"] });
    expect(cpuNow() - started).toBeLessThan(1000);
  });

  test("more codes than the bound", async () => {
    const grids = await Promise.all([0, 1, 2].map((index) => gridOf(`https://e${index}.example.test/x`)));
    const picture = paint(600, 200, (x, y) => {
      const one = grids[Math.floor(x / 200)];
      return one?.dark(Math.floor(((x % 200) - 30) / 5), Math.floor((y - 30) / 5)) ? BLACK : WHITE;
    });
    const { values, flags } = await readPixelCodes(picture, { codes: 2, pixels: 1_000_000 });
    expect(values).toHaveLength(2);
    expect(flags).toEqual(["codes_exceeded"]);
  });

  test("a progressive JPEG with thousands of scans ends", async () => {
    const bytes = await new Bun.Image(pngOf(draw(grid, { scale: 20 }))).jpeg({ progressive: true }).bytes();
    const end = Buffer.from(bytes).lastIndexOf(Buffer.from([0xff, 0xda]));
    const scan = bytes.slice(end, bytes.length - 2);
    const many = Buffer.concat([bytes.slice(0, end), ...Array(3000).fill(scan)]);
    const started = cpuNow();
    expect((await read(many, "image/jpeg")).flags).toContain("image_damaged");
    expect(cpuNow() - started).toBeLessThan(10000);
  });

  test("what is no image, or too small for a code, gives nothing", async () => {
    expect(await read(new Uint8Array(), "text/html")).toEqual({ values: [], flags: [] });
    expect(await read(Buffer.from("no image"), "image/png")).toEqual({
      values: [],
      flags: ["image_unreadable"],
    });
    expect(await read(pngOf(paint(1, 1, () => BLACK)))).toEqual({ values: [], flags: [] });
    expect(await read(pngOf(paint(600, 10, () => BLACK)))).toEqual({ values: [], flags: [] });
  });
});

describe("broken bytes", () => {
  const KNOWN = new Set(Object.keys(CODE_FLAGS));

  test("changed and cut files never throw", async () => {
    const jpeg = new Bun.Image(pngOf(small));
    const files = [
      pngOf(small),
      gifOf([small]),
      bmpOf(small),
      await jpeg.jpeg().bytes(),
      await jpeg.jpeg({ progressive: true }).bytes(),
      await jpeg.webp({ lossless: true }).bytes(),
      await jpeg.webp().bytes(),
    ];
    const change = fc.record({ at: fc.double({ min: 0, max: 1, noNaN: true }), byte: fc.nat(255) });
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...files),
        fc.array(change, { maxLength: 8 }),
        fc.double({ min: 0.2, max: 1, noNaN: true }),
        async (file, changes, part) => {
          const bytes = file.slice(0, Math.ceil(file.length * part));
          for (const { at, byte } of changes) bytes[Math.floor(at * (bytes.length - 1))] = byte;
          const { flags } = await readImageCodes(bytes, "image/png", { codes: 5, pixels: 100_000 });
          for (const flag of flags) expect(KNOWN.has(flag)).toBe(true);
        },
      ),
      { numRuns: 300 },
    );
  });

  test("any bytes after a signature never throw", async () => {
    const heads = ["\x89PNG\r\n\x1a\n", "\xff\xd8\xff", "GIF89a", "BM", "RIFF\0\0\0\0WEBPVP8 "];
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...heads), fc.uint8Array({ maxLength: 300 }), async (head, tail) => {
        await readImageCodes(Buffer.concat([Buffer.from(head, "latin1"), tail]), "image/png", LIMITS);
      }),
      { numRuns: 300 },
    );
  });
});

function greyPng({ width, height, data }: Pixels, depth: number, interlaced: boolean): Uint8Array {
  const passes = interlaced
    ? [
        [0, 0, 8, 8],
        [4, 0, 8, 8],
        [0, 4, 4, 8],
        [2, 0, 4, 4],
        [0, 2, 2, 4],
        [1, 0, 2, 2],
        [0, 1, 1, 2],
      ]
    : [[0, 0, 1, 1]];
  const bytes: number[] = [];
  for (const [left = 0, top = 0, right = 1, down = 1] of passes) {
    for (let y = top; y < height; y += down) {
      let buffer = "";
      for (let x = left; x < width; x += right)
        buffer += (data[(y * width + x) * 4] === 0 ? "0" : "1").repeat(depth);
      bytes.push(0);
      for (let at = 0; at < buffer.length; at += 8)
        bytes.push(Number.parseInt(buffer.slice(at, at + 8).padEnd(8, "0"), 2));
    }
  }
  return pngFile(width, height, depth, 0, new Uint8Array(bytes), [], interlaced);
}

function turned(code: Grid, degrees: number): Pixels {
  const side = 400;
  const [cos, sin] = [Math.cos((degrees * Math.PI) / 180), Math.sin((degrees * Math.PI) / 180)];
  return paint(side, side, (x, y) => {
    const [u, v] = [x - side / 2, y - side / 2];
    const column = Math.floor((u * cos + v * sin) / 6 + code.width / 2);
    const row = Math.floor((v * cos - u * sin) / 6 + code.height / 2);
    return code.dark(column, row) ? BLACK : WHITE;
  });
}

/** One frame as large as the screen. */
function movingWebp(still: Uint8Array): Uint8Array {
  const chunk = (name: string, body: Uint8Array): Buffer => {
    const head = Buffer.alloc(8);
    head.write(name, 0, "latin1");
    head.writeUInt32LE(body.length, 4);
    return Buffer.concat([head, body, Buffer.alloc(body.length & 1)]);
  };
  const at = Buffer.from(still).indexOf("VP8L");
  const bits = Buffer.from(still).readUInt32LE(at + 9);
  const size = Buffer.alloc(6);
  size.writeUIntLE(bits & 0x3fff, 0, 3);
  size.writeUIntLE((bits >> 14) & 0x3fff, 3, 3);
  const screen = chunk("VP8X", Buffer.concat([Buffer.from([0x02, 0, 0, 0]), size]));
  const frame = Buffer.concat([Buffer.alloc(6), size, Buffer.from([100, 0, 0, 0]), still.slice(at)]);
  const body = Buffer.concat([
    Buffer.from("WEBP"),
    screen,
    chunk("ANIM", Buffer.alloc(6)),
    chunk("ANMF", frame),
    chunk("ANMF", frame),
  ]);
  return chunk("RIFF", body);
}
