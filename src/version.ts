/** The version of the sensor, one source: package.json. */
import { version } from "../package.json";

export const VERSION: string = version;
