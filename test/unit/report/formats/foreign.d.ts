/** Readers of syslog from npm that come without types: what the tests take of them. */
declare module "nsyslog-parser" {
  function parse(
    line: string,
    options?: { readonly cef?: boolean; readonly leef?: boolean; readonly fields?: boolean },
  ): {
    readonly type: string;
    readonly facility: string;
    readonly levelval: number;
    readonly host: string;
    readonly appName: string;
    readonly pid: string;
    readonly messageid?: string;
    readonly message: string;
    readonly leef?: Readonly<Record<string, string>>;
    readonly fields?: Readonly<Record<string, string>>;
  };
  export = parse;
}

declare module "glossy" {
  export const Parse: {
    parse(line: string): {
      readonly facility: string;
      readonly severityID: number;
      readonly time: Date;
      readonly host: string;
      readonly appName: string;
      readonly pid: string;
      readonly msgID: string;
      readonly structuredData?: Readonly<Record<string, Readonly<Record<string, string>>>>;
      readonly message: string;
    };
  };
}
