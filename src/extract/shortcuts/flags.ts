/** Names of what is found in Windows shortcuts, and of what is odd about reading them. */
import type { FactEntry, FlagEntry } from "../reading.ts";

export const SHORTCUT_FLAGS = {
  shortcut_unreadable: {
    complete: false,
    meaning: "A shortcut is broken before its target or its arguments.",
  },
} as const satisfies Record<string, FlagEntry>;

export const SHORTCUT_FACTS = {
  runs_command: {
    meaning: "The shortcut starts a program that runs commands or scripts, as PowerShell or mshta.",
  },
  encoded_command: { meaning: "The shortcut gives PowerShell its command in base64." },
  url_target: { meaning: "The shortcut leads to a web address." },
  unc_target: { meaning: "The shortcut leads to a file on another machine, or takes its icon from one." },
  hidden_window: { meaning: "The shortcut starts its program in a minimized window." },
  padded_arguments: {
    meaning:
      "The arguments of the shortcut have so much white space in them that Windows does not show the rest.",
  },
  long_arguments: { meaning: "The arguments of the shortcut are longer than Windows shows." },
  misleading_icon: {
    meaning: "The shortcut runs commands and shows the icon of a document or of a browser.",
  },
  appended_data: { meaning: "Data follows after the end of the shortcut." },
} as const satisfies Record<string, FactEntry>;

export type ShortcutFlag = keyof typeof SHORTCUT_FLAGS;
export type ShortcutFact = keyof typeof SHORTCUT_FACTS;
