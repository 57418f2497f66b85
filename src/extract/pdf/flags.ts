/** Names of what is found in PDF documents, and of what is odd about reading them. */
import type { FactEntry, FlagEntry, ReaderFact } from "../reading.ts";

export const PDF_FLAGS = {
  pdf_unreadable: {
    complete: false,
    meaning: "A PDF has no objects that could be read.",
  },
  pdf_encrypted: {
    complete: false,
    meaning: "A PDF is encrypted, and neither the empty password nor a candidate opened it.",
  },
  pdf_passwords_exceeded: {
    complete: false,
    meaning: "There were more candidate passwords for a PDF than are tried.",
  },
  pdf_objects_exceeded: {
    complete: false,
    meaning: "A PDF has more objects than the bound; the ones after that are not read.",
  },
  pdf_too_large: {
    complete: false,
    meaning: "The streams of a PDF unpack to more than the bound; the rest is not read.",
  },
  pdf_text_exceeded: {
    complete: false,
    meaning: "A PDF has more text or drawing than the bound; URLs and codes in the rest are not found.",
  },
  pdf_filters_exceeded: {
    complete: false,
    meaning: "A stream of a PDF is packed more times than the bound, and not read.",
  },
  pdf_stream_unreadable: {
    complete: false,
    meaning: "A stream of a PDF is broken or packed in an unknown way; what could be unpacked is read.",
  },
  pdf_images_exceeded: {
    complete: true,
    meaning: "A PDF has more images, or larger ones, than are looked at.",
  },
  pdf_image_unreadable: {
    complete: true,
    meaning: "An image in a PDF is broken, or packed in a way that is not known here.",
  },
  pdf_ambiguous: {
    complete: true,
    meaning:
      "A dictionary of a PDF has a key twice, of which programs take the one or the other; both are read.",
  },
  pdf_hidden_objects: {
    complete: true,
    meaning:
      "A PDF has objects inside streams or strings, where some programs find them; they are read, too.",
  },
} as const satisfies Record<string, FlagEntry>;

export const PDF_FACTS = {
  javascript: { meaning: "The document has JavaScript." },
  open_action: {
    meaning: "The document does something when it is opened, other than going to one of its pages.",
  },
  event_action: {
    meaning: "The document does something on an event, such as showing a page or leaving a field.",
  },
  launch_action: { meaning: "The document starts a program or opens a file." },
  submit_form: {
    meaning: "The document sends what is written into its form somewhere, or loads a form's data.",
  },
  uri_action: { meaning: "The document has links to URLs." },
  remote_document: { meaning: "The document refers to a place in another document, or to a file elsewhere." },
  portfolio: { meaning: "The document is a collection of files (portfolio)." },
  acroform_xfa: { meaning: "The document has a form in XFA, which programs can run scripts of." },
  rich_media: { meaning: "The document has Flash, 3D, film or sound in it." },
  obfuscated_names: {
    meaning: "Names that say what the document does are written with escapes that they do not need.",
  },
  jbig2: { meaning: "The document has images in JBIG2, whose readers had many faults." },
} as const satisfies Record<string, FactEntry>;

export type PdfFlag = keyof typeof PDF_FLAGS;
export type PdfFact = keyof typeof PDF_FACTS | ReaderFact;
