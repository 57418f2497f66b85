import { expect, test } from "bun:test";
import { createTransport } from "nodemailer";
import { listenForMail, type SunkMail } from "../../../../src/commands/demo/mail-sink.ts";

test("the mail relay of the demo keeps the facts of what it takes", async () => {
  const mails: SunkMail[] = [];
  const sink = await listenForMail((mail) => mails.push(mail));
  const transport = createTransport({ host: "127.0.0.1", port: sink.port });
  await transport.sendMail({
    envelope: { from: "", to: ["soc@demo.example", "second@demo.example"] },
    from: "sensor@demo.example",
    to: "soc@demo.example",
    subject: "Grüße 🎉",
    text: "Malicious attachment",
    headers: { "Auto-Submitted": "auto-generated" },
  });
  transport.close();
  await sink.close();
  expect(mails).toEqual([
    {
      from: "",
      to: ["soc@demo.example", "second@demo.example"],
      subject: "Grüße 🎉",
      text: "Malicious attachment\n",
      autoSubmitted: "auto-generated",
    },
  ]);
});
