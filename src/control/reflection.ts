/**
 * Server reflection, from descriptors compiled into the program: grpcurl and its like need no .proto file.
 *
 * A question about something unknown is answered with error_response NOT_FOUND, and the stream goes on.
 */
import { type ServiceDefinition, status } from "@grpc/grpc-js";
import { DESCRIBED_FILES, type DescribedFile } from "../../gen/descriptors.ts";
import {
  type ServerReflectionRequest,
  type ServerReflectionResponse,
  type ServerReflectionServer,
  ServerReflectionService,
} from "../../gen/grpc/reflection/v1/reflection.ts";
import { type OpenStream, send } from "./streams.ts";

type Answer = ServerReflectionResponse["messageResponse"];

/** The same service under the name that clients older than 2023 ask for; its messages are the same. */
export const REFLECTION_V1ALPHA: ServiceDefinition = {
  serverReflectionInfo: {
    ...ServerReflectionService.serverReflectionInfo,
    path: "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
  },
};

const byName = new Map(DESCRIBED_FILES.map((file) => [file.name, file]));
const bySymbol = new Map(
  DESCRIBED_FILES.flatMap((file) => file.symbols.map((symbol) => [symbol, file] as const)),
);

/** A file and those it imports, each once. */
function withImports(file: DescribedFile, found = new Set<DescribedFile>()): ReadonlySet<DescribedFile> {
  if (found.has(file)) return found;
  found.add(file);
  for (const name of file.imports) {
    const imported = byName.get(name);
    if (imported !== undefined) withImports(imported, found);
  }
  return found;
}

function notFound(what: string): Answer {
  return {
    $case: "errorResponse",
    value: { errorCode: status.NOT_FOUND, errorMessage: `${what} is not known here` },
  };
}

function fileAnswer(file: DescribedFile | undefined, what: string): Answer {
  if (file === undefined) return notFound(what);
  return {
    $case: "fileDescriptorResponse",
    value: { fileDescriptorProto: [...withImports(file)].map((one) => Buffer.from(one.base64, "base64")) },
  };
}

export function answerReflection(request: ServerReflectionRequest): ServerReflectionResponse {
  const asked = request.messageRequest;
  const answer = (): Answer => {
    switch (asked?.$case) {
      case "fileByFilename":
        return fileAnswer(byName.get(asked.value), "the file");
      case "fileContainingSymbol":
        return fileAnswer(bySymbol.get(asked.value), "the symbol");
      case "fileContainingExtension":
        return notFound("the extension");
      case "allExtensionNumbersOfType":
        return bySymbol.has(asked.value)
          ? {
              $case: "allExtensionNumbersResponse",
              value: { baseTypeName: asked.value, extensionNumber: [] },
            }
          : notFound("the type");
      case "listServices":
        return {
          $case: "listServicesResponse",
          value: {
            service: DESCRIBED_FILES.flatMap((file) => file.services)
              .sort()
              .map((name) => ({ name })),
          },
        };
      case undefined:
        return {
          $case: "errorResponse",
          value: { errorCode: status.INVALID_ARGUMENT, errorMessage: "the request asks nothing" },
        };
    }
  };
  return { validHost: request.host, originalRequest: request, messageResponse: answer() };
}

export function reflectionService(openStream: OpenStream): ServerReflectionServer {
  return {
    serverReflectionInfo(call) {
      openStream(
        call,
        "ServerReflectionInfo",
        (gone) =>
          new Promise((resolve) => {
            gone.addEventListener("abort", () => resolve(), { once: true });
            call.on("end", resolve);
            call.on("data", async (request: ServerReflectionRequest) => {
              // The next question is read when this answer is on its way.
              call.pause();
              await send(call, answerReflection(request), gone);
              call.resume();
            });
          }),
      );
    },
  };
}
