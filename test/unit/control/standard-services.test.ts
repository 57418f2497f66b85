import { afterEach, describe, expect, test } from "bun:test";
import { fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Client, credentials, type ServiceError, status } from "@grpc/grpc-js";
import { HealthCheckResponse_ServingStatus, HealthClient } from "../../../gen/grpc/health/v1/health.ts";
import {
  ServerReflectionClient,
  ServerReflectionRequest,
  ServerReflectionResponse,
} from "../../../gen/grpc/reflection/v1/reflection.ts";
import { type Harness, harness } from "./harness.ts";

const { SERVING, NOT_SERVING, SERVICE_UNKNOWN } = HealthCheckResponse_ServingStatus;

let open: Harness;
const closing: Client[] = [];
afterEach(async () => {
  for (const client of closing.splice(0)) client.close();
  await open.end();
});

function keep<C extends Client>(client: C): C {
  closing.push(client);
  return client;
}

describe("grpc.health.v1", () => {
  const connect = () => keep(new HealthClient(open.control.address, credentials.createInsecure()));

  test("says that the server and the sensor service serve, and knows no other", async () => {
    open = await harness();
    const check = (service: string) =>
      new Promise<number | ServiceError>((resolve) => {
        connect().check({ service }, (error, answer) => resolve(error ?? answer.status));
      });
    expect(await check("")).toBe(SERVING);
    expect(await check("emailsensor.v1.SensorService")).toBe(SERVING);
    expect(await check("other.Service")).toMatchObject({ code: status.NOT_FOUND });
    const all = await new Promise((resolve, reject) => {
      connect().list({}, (error, answer) => (error === null ? resolve(answer.statuses) : reject(error)));
    });
    expect(all).toEqual({ "": { status: SERVING }, "emailsensor.v1.SensorService": { status: SERVING } });
  });

  test("tells a watcher when the sensor begins to stop", async () => {
    open = await harness();
    const seen: number[] = [];
    const watcher = connect().watch({ service: "emailsensor.v1.SensorService" });
    const ended = new Promise<ServiceError>((resolve) => watcher.once("error", resolve));
    const first = new Promise<void>((resolve) => watcher.once("data", () => resolve()));
    watcher.on("data", (answer) => seen.push(answer.status));
    await first;
    await open.control.stop();
    expect((await ended).code).toBe(status.UNAVAILABLE);
    expect(seen).toEqual([SERVING, NOT_SERVING]);
  });

  test("keeps the watch of an unknown service open", async () => {
    open = await harness();
    const watcher = connect().watch({ service: "later.Service" });
    const answer = await new Promise<{ status: number }>((resolve) => watcher.once("data", resolve));
    expect(answer.status).toBe(SERVICE_UNKNOWN);
    const ended = new Promise<ServiceError>((resolve) => watcher.once("error", resolve));
    expect(await Promise.race([ended, Bun.sleep(50).then(() => "open")])).toBe("open");
    watcher.cancel();
    expect((await ended).code).toBe(status.CANCELLED);
  });
});

describe("server reflection", () => {
  type Question = NonNullable<ServerReflectionRequest["messageRequest"]>;

  /** Asks all questions on one stream, at once, and gives the answers in order. */
  async function ask(questions: readonly Question[], version = "v1"): Promise<ServerReflectionResponse[]> {
    const client = keep(new Client(open.control.address, credentials.createInsecure()));
    const stream = client.makeBidiStreamRequest(
      `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`,
      (request: ServerReflectionRequest) => Buffer.from(ServerReflectionRequest.encode(request).finish()),
      (bytes: Buffer) => ServerReflectionResponse.decode(bytes),
    );
    const answers: ServerReflectionResponse[] = [];
    stream.on("data", (answer) => answers.push(answer));
    for (const messageRequest of questions) stream.write({ host: "here", messageRequest });
    stream.end();
    await new Promise<void>((resolve, reject) => {
      stream.once("end", resolve);
      stream.once("error", reject);
    });
    return answers;
  }

  function filesIn(answer: ServerReflectionResponse | undefined): readonly string[] {
    if (answer?.messageResponse?.$case !== "fileDescriptorResponse") return [];
    return answer.messageResponse.value.fileDescriptorProto.map(
      (bytes) => fromBinary(FileDescriptorProtoSchema, bytes).name,
    );
  }

  test("lists the services under the new and the old name of reflection", async () => {
    open = await harness();
    for (const version of ["v1", "v1alpha"]) {
      const [answer] = await ask([{ $case: "listServices", value: "*" }], version);
      expect(answer?.validHost).toBe("here");
      expect(answer?.messageResponse).toEqual({
        $case: "listServicesResponse",
        value: {
          service: [
            { name: "emailsensor.v1.SensorService" },
            { name: "grpc.health.v1.Health" },
            { name: "grpc.reflection.v1.ServerReflection" },
          ],
        },
      });
    }
  });

  test("gives the file of a symbol of any kind with its imports, and comments in it", async () => {
    open = await harness();
    const symbols = [
      "emailsensor.v1.SensorService",
      "emailsensor.v1.SensorService.GetStatus",
      "emailsensor.v1.Mail",
      "emailsensor.v1.Mail.envelope",
      "emailsensor.v1.Verdict",
      "emailsensor.v1.VERDICT_CLEAN",
      "emailsensor.v1.Decision.Action",
      "emailsensor.v1.Decision.ACTION_SKIP",
    ];
    const answers = await ask(symbols.map((value) => ({ $case: "fileContainingSymbol", value })));
    for (const answer of answers) {
      expect(filesIn(answer)).toEqual([
        "emailsensor/v1/sensor.proto",
        "google/protobuf/duration.proto",
        "google/protobuf/timestamp.proto",
      ]);
    }
    const [answer] = answers;
    if (answer?.messageResponse?.$case !== "fileDescriptorResponse") throw new Error("no file");
    const [bytes = new Uint8Array()] = answer.messageResponse.value.fileDescriptorProto;
    const comments = fromBinary(FileDescriptorProtoSchema, bytes).sourceCodeInfo?.location ?? [];
    expect(comments.some((location) => location.leadingComments.includes("The whole way of one mail"))).toBe(
      true,
    );
  });

  test("gives files by name", async () => {
    open = await harness();
    const [file] = await ask([{ $case: "fileByFilename", value: "grpc/health/v1/health.proto" }]);
    expect(filesIn(file)).toEqual(["grpc/health/v1/health.proto"]);
  });

  test("answers what it does not know with an error, and the next question as ever", async () => {
    open = await harness();
    const answers = await ask([
      { $case: "fileByFilename", value: "../../etc/passwd" },
      { $case: "fileContainingSymbol", value: "__proto__" },
      {
        $case: "fileContainingExtension",
        value: { containingType: "emailsensor.v1.Mail", extensionNumber: 5 },
      },
      { $case: "allExtensionNumbersOfType", value: "no.Such" },
      { $case: "allExtensionNumbersOfType", value: "emailsensor.v1.Mail" },
      { $case: "fileByFilename", value: "google/protobuf/duration.proto" },
    ]);
    const errors = answers.map((answer) =>
      answer.messageResponse?.$case === "errorResponse" ? answer.messageResponse.value.errorCode : null,
    );
    const { NOT_FOUND } = status;
    expect(errors).toEqual([NOT_FOUND, NOT_FOUND, NOT_FOUND, NOT_FOUND, null, null]);
    expect(filesIn(answers[5])).toEqual(["google/protobuf/duration.proto"]);
  });

  test("keeps the order of many questions asked at once", async () => {
    open = await harness();
    const names = Array.from({ length: 200 }, (_, index) => `no.Such${index}`);
    const answers = await ask(names.map((value) => ({ $case: "fileContainingSymbol", value })));
    expect(answers.map((answer) => answer.originalRequest?.messageRequest?.value)).toEqual(names);
  });

  test("ends with the sensor", async () => {
    open = await harness();
    const client = keep(new ServerReflectionClient(open.control.address, credentials.createInsecure()));
    const stream = client.serverReflectionInfo();
    const ended = new Promise<ServiceError>((resolve) => stream.once("error", resolve));
    stream.write({ host: "", messageRequest: { $case: "listServices", value: "" } });
    await new Promise((resolve) => stream.once("data", resolve));
    await open.control.stop();
    expect((await ended).code).toBe(status.UNAVAILABLE);
  });
});
