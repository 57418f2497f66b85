/**
 * Sorts media types into the groups that the policy speaks of (`triage.analyze`).
 *
 * A type told from the content decides. Where the content says nothing (unknown bytes, plain text) the
 * extension does, since it decides which program would open the file.
 */
import type { TypeGroup } from "../config/sections/rules.ts";

const GROUP_OF_TYPE: Readonly<Record<string, TypeGroup>> = {
  // documents
  "application/pdf": "documents",
  "application/rtf": "documents",
  "application/msword": "documents",
  "application/vnd.ms-excel": "documents",
  "application/vnd.ms-powerpoint": "documents",
  "application/vnd.ms-outlook": "documents",
  "application/vnd.visio": "documents",
  "application/vnd.ms-visio.drawing": "documents",
  "application/x-mspublisher": "documents",
  "application/x-ooxml-protected": "documents",
  "application/x-ole-storage": "documents",
  "application/x-cfb": "documents",
  "application/x-hwp": "documents",
  "application/vnd.apple.keynote": "documents",
  "application/vnd.apple.numbers": "documents",
  "application/vnd.apple.pages": "documents",
  "application/onenote": "documents",
  "application/postscript": "documents",
  "application/eps": "documents",
  "application/epub+zip": "documents",
  "application/vnd.ms-xpsdocument": "documents",
  "application/vnd.adobe.xdp+xml": "documents",
  "application/x-sylk": "documents",
  "text/x-iqy": "documents",
  // scripts
  "text/javascript": "scripts",
  "text/vbscript": "scripts",
  "application/x-encoded-script": "scripts",
  "application/x-powershell": "scripts",
  "application/x-bat": "scripts",
  "application/x-wsf": "scripts",
  "application/hta": "scripts",
  "application/x-msc": "scripts",
  "text/asp": "scripts",
  "application/x-ms-regedit": "scripts",
  // executables
  "application/x-eicar-test": "executables",
  "application/vnd.microsoft.portable-executable": "executables",
  "application/x-msdownload": "executables",
  "application/x-dosexec": "executables",
  "application/x-elf": "executables",
  "application/x-mach-binary": "executables",
  "application/x-msi": "executables",
  "application/appx": "executables",
  "application/java-vm": "executables",
  "application/java-archive": "executables",
  "application/x-java-jnlp-file": "executables",
  "application/vnd.android.package-archive": "executables",
  "application/x-dex": "executables",
  "application/wasm": "executables",
  "application/x-shockwave-flash": "executables",
  "application/x-ms-application": "executables",
  "application/x-google-chrome-extension": "executables",
  "application/x-xpinstall": "executables",
  "application/winhlp": "executables",
  "application/vnd.ms-htmlhelp": "executables",
  "application/x-deb": "executables",
  "application/x-rpm": "executables",
  // archives
  "application/zip": "archives",
  "application/x-7z-compressed": "archives",
  "application/x-rar-compressed": "archives",
  "application/vnd.rar": "archives",
  "application/gzip": "archives",
  "application/x-gzip": "archives",
  "application/x-bzip2": "archives",
  "application/x-xz": "archives",
  "application/x-lzip": "archives",
  "application/lzip": "archives",
  "application/x-asar": "archives",
  "application/x-lzma": "archives",
  "application/x-lz4": "archives",
  "application/x-lzh-compressed": "archives",
  "application/zstd": "archives",
  "application/x-compress": "archives",
  "application/x-tar": "archives",
  "application/x-unix-archive": "archives",
  "application/x-cpio": "archives",
  "application/x-arj": "archives",
  "application/x-ace-compressed": "archives",
  "application/x-alz-compressed": "archives",
  "application/x-egg-compressed": "archives",
  "application/vnd.ms-cab-compressed": "archives",
  "application/x-stuffit": "archives",
  "application/vnd.ms-tnef": "archives",
  // html
  "text/html": "html",
  "application/x-mimearchive": "html",
  // Scripts run in it, in a browser.
  "image/svg+xml": "html",
  // disk images
  "application/x-iso9660-image": "disk_images",
  "application/x-apple-diskimage": "disk_images",
  "application/x-raw-disk-image": "disk_images",
  "application/x-vhd": "disk_images",
  "application/x-vhdx": "disk_images",
  "application/x-vmdk": "disk_images",
  "application/x-qcow2": "disk_images",
  "application/x-ms-wim": "disk_images",
  // shortcuts
  "application/x-ms-shortcut": "shortcuts",
  "application/x-ft-apple.alias": "shortcuts",
  "application/internet-shortcut": "shortcuts",
  "application/x-ms-shell-link-xml": "shortcuts",
  "application/x-ms-scf": "shortcuts",
  "application/x-desktop": "shortcuts",
  "application/x-rdp": "shortcuts",
  // media that is named otherwise
  "application/ogg": "media",
  "application/vnd.ms-asf": "media",
  "application/x-mpegurl": "media",
  // text
  "application/json": "text",
  "application/xml": "text",
  "application/pgp-encrypted": "text",
  "application/pgp-signature": "text",
  "application/x-empty": "text",
};

const GROUP_OF_EXTENSION: Readonly<Record<string, TypeGroup>> = {
  ...each(
    "documents",
    "pdf doc docx docm dot dotx dotm rtf odt xls xlsx xlsm xlsb xlt xltx xltm xlam xla ods",
  ),
  ...each(
    "documents",
    "ppt pptx pptm pps ppsx ppsm pot potx potm ppam odp pub vsd vsdx one onepkg hwp hwpx msg",
  ),
  ...each("documents", "accdb accde mdb mde wbk wps xps oxps slk iqy oqy rqy dqy"),
  ...each(
    "scripts",
    "js jse vbs vbe ps1 psm1 bat cmd wsf wsh wsc sct hta sh py pyw pyc pl php rb au3 ahk a3x",
  ),
  ...each(
    "executables",
    "exe com scr pif dll cpl ocx sys drv msi msp mst msix appx appxbundle xll jar class apk",
  ),
  ...each(
    "executables",
    "dex elf so bin run app pkg deb rpm gadget application appref-ms jnlp chm hlp swf xpi crx",
  ),
  ...each(
    "archives",
    "zip zipx 7z rar r00 r01 gz tgz bz2 tbz xz txz lzma lz lz4 zst z tar cab arj ace lzh lha uue",
  ),
  ...each("archives", "alz egg cpio jar war ear sit sitx 001"),
  ...each("html", "html htm shtml xhtml xht mht mhtml svg"),
  ...each("disk_images", "iso img udf vhd vhdx vmdk vdi dmg wim esd toast nrg cue"),
  ...each(
    "shortcuts",
    "lnk url website scf rdp desktop library-ms search-ms searchconnector-ms settingcontent-ms",
  ),
};

function each(group: TypeGroup, extensions: string): Record<string, TypeGroup> {
  return Object.fromEntries(extensions.split(" ").map((extension) => [extension, group]));
}

/** Types that say no more than that a content is bytes or text. */
const GENERIC: ReadonlySet<string> = new Set(["application/octet-stream", "text/plain"]);

/** The group of a content of media type `type` (lower case) and extension `extension` ("" for none). */
export function groupOf(type: string, extension: string): TypeGroup {
  if (GENERIC.has(type) && Object.hasOwn(GROUP_OF_EXTENSION, extension)) {
    return GROUP_OF_EXTENSION[extension] ?? "other";
  }
  if (Object.hasOwn(GROUP_OF_TYPE, type)) return GROUP_OF_TYPE[type] ?? "other";
  if (/^application\/vnd\.(?:openxmlformats-officedocument|ms-word|ms-excel|ms-powerpoint)\./.test(type)) {
    return "documents";
  }
  if (type.startsWith("application/vnd.oasis.opendocument.")) return "documents";
  if (
    /^text\/x-(?:shellscript|python|perl|php|ruby|lua|autoit|autohotkey|applescript|jsp|ms-inf|ms-regedit)$/.test(
      type,
    )
  ) {
    return "scripts";
  }
  if (type.startsWith("image/")) return "images";
  if (type.startsWith("audio/") || type.startsWith("video/") || type.startsWith("font/")) return "media";
  if (type.startsWith("message/")) return "mails";
  if (type.startsWith("text/")) return "text";
  return "other";
}
