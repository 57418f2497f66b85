/** An answer of the API that is an error: the status and the `error_msg` of its envelope. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** The answer to an id that is not known, or no longer (a finished job). */
export function noSuchElement(): ApiError {
  return new ApiError(404, "No such element");
}
