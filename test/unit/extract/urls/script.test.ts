import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { scanScript } from "../../../../src/extract/urls/script.ts";
import { base64, found } from "./found.ts";

const A = "https://a.example/x";
const reversed = [...A].reverse().join("");
const codes = [...A].map((char) => char.charCodeAt(0));

describe("a script leads to what it puts together", () => {
  test.each<string>([
    `location.href="ht"+'tps:/'+\`/a.example/\`+("x")`,
    `window.open("https:\\/\\/a.example\\/x")`,
    `location="\\x68\\u0074\\u{74}ps:\\57/a.example/x"`,
    `location="https://a.exa\\\nmple/x"`,
    `var u="https:";u+="//a.example";u+="/x";location=u`,
    `var p="https:",q="//a.example/x";location.assign(p+q)`,
    `o.a="https://a";o["b"]=".example/x";f(o.a+o.b)`,
    `f("https://".concat("a.example","/x"))`,
    `f(["https:","","a.example","x"].join("/"))`,
    `f("${reversed}".split("").reverse().join(""))`,
    `f("${reversed}")`,
    `f("httpX://a.eXXxample/x".replace(/XX/g,"").replace("X","s"))`,
    `f(atob("${base64(A)}"))`,
    `f(atob("${base64(A).slice(0, 9)}"+"${base64(A).slice(9)}"))`,
    `f(atob("${base64("https://a.exa")}")+"mple/x")`,
    `f(window["atob"]("${base64(A)}"))`,
    `f("${base64(A)}")`,
    `f(unescape("${[...A].map((char) => `%${char.charCodeAt(0).toString(16)}`).join("")}"))`,
    `f(decodeURIComponent("https%3A%2F%2Fa.example%2Fx"))`,
    `f(String.fromCharCode(${codes.join(",")}))`,
    `f(String.fromCharCode.apply(null,[${codes.join(", ")}]))`,
    `f(String.fromCharCode(...[${codes.map((code) => `0x${code.toString(16)}`)}]))`,
    `f([${codes}].map(c=>String.fromCharCode(c)).join(""))`,
    `f("${codes.join(",")}".split(","))`,
    `f("${Buffer.from(A).toString("hex")}")`,
    `var t=["x/","https:","//a.example/x"];f(t[1]+t[2])`,
    `const h="a.example";f(\`https://\${h}/x\`)`,
    `f(/["'\`]/.test(a)?"https://a.example/x":1)`,
    `it's broken\nf("https://a.example/x")`,
    `f("x)}]",{url:"https://a."+"example/x"})`,
    `eval(atob("${base64(`location="https://a.exam"+"ple/x"`)}"))`,
    `document.write(atob("${base64(`<a href="https://a.example/x">`)}"))`,
    `document.write("<a hr"+"ef='https://a.example/x'>")`,
    `document.write(unescape("%3Ca%20href%3D%22https%3A//a.example/x%22%3E"))`,
    `${"(".repeat(600)}"https://a.example/x"${")".repeat(600)}`,
  ])("%j", (code) => {
    expect(found("script", code)).toMatchObject({ urls: [A], flags: [] });
  });

  test("and to a host without a scheme, if it is one", () => {
    expect(found("script", `f("//evil.com/x", "// a comment", "//nosuch/x")`).urls).toEqual([
      "https://evil.com/x",
    ]);
  });
});

describe("a script that carries a file", () => {
  const zip = `PK\u0003\u0004${"\u0001\u0002\u0003\u0004".repeat(20)}`;
  const page = "<html><script>x</script></html>";

  test.each<[string, string, string | null]>([
    [`var d=atob("${base64(zip)}");b=new Blob([d]);a.download="in"+"voice.zip"`, zip, "invoice.zip"],
    [`var p=["${base64(zip).slice(0, 40)}","${base64(zip).slice(40)}"];f(p.join(""))`, zip, null],
    [`var d="${base64(zip)}";navigator.msSaveOrOpenBlob(new Blob([x(d)]),"a.zip")`, zip, "a.zip"],
    [`new File([new Uint8Array([${[...Buffer.from(zip, "latin1")]}])],"b.zip")`, zip, "b.zip"],
    [`a.setAttribute("download","c.zip");f("${Buffer.from(zip, "latin1").toString("hex")}")`, zip, "c.zip"],
    [`f("${base64(page)}")`, page, null],
  ])("%j", (code, text, name) => {
    const { files, flags } = found("script", code);
    expect(files).toContainEqual({ name, declared: null, text });
    expect(flags).toEqual(["script_carries_file"]);
  });

  test("in a data: URL gives it as declared", () => {
    expect(found("script", `a.href="data:application/zip;base64,"+"${base64(zip)}"`).files).toEqual([
      { name: null, declared: "application/zip", text: zip },
    ]);
  });
});

test("ordinary library code has no URLs and no files", () => {
  const code = `
    /*! library v3 */ (function(e,t){"use strict";var n=[],r=e.document,i=Object.getPrototypeOf;
    function m(e,t){for(var n in t)if(t.hasOwnProperty(n))e[n]=t[n];return e.replace(/^-ms-/,"ms-").replace(/-([a-z])/g,f)}
    var a="abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",b="getElementsByClassName";
    if(a/2>1/b.length){x=y/2;z="a/b"}})(window);`;
  expect(found("script", code)).toMatchObject({ urls: [], flags: [], files: [] });
});

describe("any bytes", () => {
  const piece = fc.constantFrom(
    ..."\"'`+()[]{},.;=/\\\n ".split(""),
    "${",
    "/*",
    "*/",
    "//",
    "a",
    "a+=",
    "a=a+a;",
    "atob(",
    ".join(",
    ".split(",
    ".replace(",
    '"http://a.example/"',
    '"x"',
    "65",
    "String.fromCharCode(",
    ".reverse()",
  );

  test("never throw, and give no more than the bound", () => {
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 200 }), (pieces) => {
        const code = pieces.join("");
        let given = 0;
        scanScript(code, {
          onText: (text) => {
            given += text.length;
          },
          onFile: () => {},
          onCode: () => {},
          onFileName: () => {},
        });
        expect(given).toBeLessThanOrEqual(9 * code.length + 4096);
      }),
      { numRuns: 500 },
    );
  });

  test("give a URL that stands in a literal of its own line", () => {
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 50 }), (pieces) => {
        const before = pieces.filter((one) => !/[`]|\/\*|\\/.test(one)).join("");
        expect(found("script", `${before}\nf("https://found.example/");`).urls).toContain(
          "https://found.example/",
        );
      }),
      { numRuns: 300 },
    );
  });
});

test("what is too much work is read literal by literal, with a flag", () => {
  const code = `a="${"x".repeat(1000)}";${"f(a+'y');".repeat(2000)}g("https://a.example/x")`;
  expect(found("script", code)).toMatchObject({ urls: [A], flags: ["script_exceeded"] });
});
