import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { passwordCandidates } from "../../../../src/extract/archives/passwords.ts";
import { cpuNow } from "../clock.ts";

describe("candidates for passwords", () => {
  const cases: readonly (readonly [string, string])[] = [
    ["The password for the attached file is: Xk29!a. Regards, Ann", "Xk29!a"],
    ["Password: abc.def.", "abc.def."],
    ["PASSWORD=QWErty12", "QWErty12"],
    ["archive pass - 7788", "7788"],
    ["Use pw=foo.bar to open it", "foo.bar"],
    ["Passcode\r\n\r\n   Tr0ub4dor&3\r\n", "Tr0ub4dor&3"],
    ["The password is 'with some spaces'.", "with some spaces"],
    ["Password: correct horse battery staple\nBye", "correct horse battery staple"],
    ["Ihr Kennwort lautet „Geheim 12“.", "Geheim 12"],
    ["Passwort für die Datei: rechnung-2024", "rechnung-2024"],
    ["Mot de passe : s3cret", "s3cret"],
    ["La contraseña es Hola99", "Hola99"],
    ["Senha do arquivo: br4sil", "br4sil"],
    ["Пароль от архива: 8841", "8841"],
    ["Hasło: zażółć", "zażółć"],
    ["Wachtwoord is welkom01", "welkom01"],
    ["解压密码：abc123，谢谢", "abc123"],
    ["密码是zz9请查收", "zz9"],
    ["パスワードは「himitsu」です", "himitsu"],
    ["비밀번호: qwer1234", "qwer1234"],
    ["<p>Password: <b>s3cr&amp;t</b></p>", "s3cr&t"],
    ["<td>PIN</td><td><strong>4711</strong></td>", "4711"],
  ];
  for (const [text, password] of cases) {
    test(`${JSON.stringify(text)} gives ${password} among the first`, () => {
      expect(passwordCandidates([text], [], 40).slice(0, 20)).toContain(password);
    });
  }

  test("well-known ones, digits, names and all words follow", () => {
    const found = passwordCandidates(
      ["Please see the file. Order 558812 of Monday. It opens with BlueSky", "  lonely\n"],
      ["docs/scan_8812.pdf.zip", "pass_rome7.7z"],
      500,
    );
    for (const one of ["infected", "558812", "8812", "rome7", "BlueSky", "lonely", "scan_8812", "Monday"]) {
      expect(found).toContain(one);
    }
    expect(found.indexOf("rome7")).toBeLessThan(found.indexOf("infected"));
    expect(found.indexOf("558812")).toBeLessThan(found.indexOf("Monday"));
    expect(new Set(found).size).toBe(found.length);
  });

  test("no more than asked for, none empty or too long", () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ unit: "binary" })),
        fc.array(fc.string()),
        fc.nat(50),
        (texts, names, max) => {
          const found = passwordCandidates(texts, names, max);
          expect(found.length).toBeLessThanOrEqual(max);
          expect(found.every((one) => one !== "" && one.length <= 64)).toBe(true);
        },
      ),
    );
  });

  test("time grows in proportion to the text", () => {
    const units = [
      "password ",
      "pass",
      '"a',
      "“",
      "<a ",
      "<",
      "1234 ",
      "a",
      " ",
      "\n",
      "пароль:",
      "a@b",
      "...",
      "密码",
      "\u0000",
      "p/w=\t",
    ];
    for (const unit of units) {
      const times = [64, 256, 1024].map((size) => {
        const text = unit.repeat((size * 1024) / unit.length);
        const begin = cpuNow();
        passwordCandidates([text], [text.slice(0, 5000)], 2000);
        return cpuNow() - begin;
      });
      const [, middle = 0, large = 0] = times;
      expect({ unit, slow: large > 100 && large > middle * 12 }).toEqual({ unit, slow: false });
      expect({ unit, slow: large > 1500 }).toEqual({ unit, slow: false });
    }
  });
});
