/** Names of what is found in Office documents, OpenDocument, RTF and OneNote, and of what is odd about reading them. */
import type { FactEntry, FlagEntry, ReaderFact } from "../reading.ts";

export const OFFICE_FLAGS = {
  office_unreadable: {
    complete: false,
    meaning: "A document is too broken for its parts to be found.",
  },
  office_part_unreadable: {
    complete: false,
    meaning: "A part of a document is encrypted, broken, or packed in a way Office does not know.",
  },
  office_parts_exceeded: {
    complete: false,
    meaning: "A document has more parts than the bound; the ones after that are not read.",
  },
  office_part_bytes_exceeded: {
    complete: false,
    meaning: "The parts of a document unpack to more than the bound; the rest is not read.",
  },
  office_text_exceeded: {
    complete: false,
    meaning: "A document has more text than the bound; URLs in the rest are not found.",
  },
  office_images_exceeded: {
    complete: true,
    meaning: "A document has more images than are looked at.",
  },
  office_fields_odd: {
    complete: true,
    meaning: "A document has fields that are not closed, too long, or nested too deep.",
  },
  vba_unreadable: {
    complete: false,
    meaning: "A document has macros whose source could not be unpacked.",
  },
} as const satisfies Record<string, FlagEntry>;

export const OFFICE_FACTS = {
  macros: { meaning: "The document has macros (VBA, or the Basic and scripts of OpenDocument)." },
  macros_autoexec: { meaning: "A macro runs by itself, when the document is opened, closed or shown." },
  macros_suspicious: {
    meaning: "The source of a macro runs programs, downloads, calls Windows itself or hides what it does.",
  },
  macros_stomped: { meaning: "The document has compiled macros whose source was removed." },
  excel4_macros: { meaning: "The workbook has sheets of Excel 4.0 macros." },
  hidden_macro_sheet: { meaning: "A sheet of Excel 4.0 macros is hidden." },
  default_password: {
    meaning:
      "The document is encrypted with the password that Excel tries by itself, so it opens without asking.",
  },
  dde: { meaning: "The document starts or asks another program by dynamic data exchange (DDE)." },
  remote_template: { meaning: "The document loads its template from elsewhere when it is opened." },
  external_image: { meaning: "The document loads an image from elsewhere when it is opened." },
  external_object: {
    meaning: "The document loads an object, a frame or a part from elsewhere when it is opened.",
  },
  external_workbook: { meaning: "The workbook is linked to another one." },
  script_link: { meaning: "The document refers to something by a scheme that starts a program or a script." },
  data_connection: { meaning: "The workbook has a connection to data elsewhere." },
  web_formula: { meaning: "A formula of the workbook fetches something from the web." },
  field_include: { meaning: "A field of the document includes a text or an image from elsewhere." },
  macro_button: { meaning: "A field of the document runs a macro when it is clicked." },
  program_action: {
    meaning: "Clicking or pointing at something in the presentation runs a program or a macro.",
  },
  hover_action: { meaning: "Pointing at something in the presentation opens a link." },
  custom_ui_onload: {
    meaning: "The document changes the ribbon of Office and calls a macro when that is loaded.",
  },
  activex: { meaning: "The document has ActiveX controls." },
  alt_chunk: { meaning: "The document takes in another document of a different format (altChunk)." },
  embedded_object: { meaning: "The document has an embedded file or object." },
  linked_object: { meaning: "The document has an object that is loaded from elsewhere (OLE link)." },
  object_autoload: { meaning: "The RTF loads or renews an object when it is opened." },
  equation_editor: {
    meaning:
      "The document has an object for the old Equation Editor, whose faults run code (CVE-2017-11882).",
  },
  scripting_object: { meaning: "The document has an object that interprets HTML, scripts or Flash." },
} as const satisfies Record<string, FactEntry>;

export type OfficeFlag = keyof typeof OFFICE_FLAGS;
export type OfficeFact = keyof typeof OFFICE_FACTS | ReaderFact;
