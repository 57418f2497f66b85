/** `extract-helper`: a process that takes mails apart for the sensor. Started by it, not by people. */
import { serveExtractions } from "../extract/helper.ts";
import type { Command } from "./command.ts";

export const command: Command = {
  summary: "takes mails apart for the sensor (started by it)",
  usage:
    "use: email-sensor extract-helper\n\nStarted by the sensor itself. It speaks to it over stdin and stdout.\n",
  async run() {
    await serveExtractions();
    return 0;
  },
};
