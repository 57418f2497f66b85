/** Text of a template, in the bundle: `import text from "./x.liquid" with { type: "text" }`. */
declare module "*.liquid" {
  const text: string;
  // biome-ignore lint/style/noDefaultExport: that is what an import of a text is
  export default text;
}
