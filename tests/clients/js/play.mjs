/**
 * Play a scenario once for each version and address:
 *
 *     node play.mjs FILE SCENARIO VERSION,VERSION URL...
 *
 * The exit status is 0 if all went as the scenario says; if not, the output tells where it did not.
 */

import { Door } from "./device.mjs";

const DEADLINE_MS = 15_000; // for all of it; less than the tests have

const [file, scenario, versions, ...urls] = process.argv.slice(2);
const play = (await import(`./${file}.mjs`))[scenario];
let playing = scenario;

setTimeout(() => {
  console.error(`${playing}: waited in vain`);
  process.exit(1);
}, DEADLINE_MS);

try {
  for (const url of urls) {
    for (const version of versions.split(",").map(Number)) {
      const door = new Door(url, version, scenario);
      playing = door.name;
      await play(door);
      await door.close();
    }
  }
} catch (error) {
  console.error(`${playing}:`, error);
  process.exit(1);
}
process.exit();
