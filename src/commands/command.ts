/** What a command of the command line is: a file of this folder that exports one of these. */
export type Command = {
  /** One line for `email-sensor --help`. */
  readonly summary: string;
  /** The whole text of `email-sensor NAME --help`. */
  readonly usage: string;
  /** Runs it with the words after the command's name; resolves to the exit code. */
  run(args: readonly string[]): Promise<ExitCode>;
};

/** 0 done, 1 failed, 2 bad usage or configuration, 3 cannot reach the sensor or service. */
export type ExitCode = 0 | 1 | 2 | 3;
