// Publish with the package "ntfy", and print what the server answered.
//
//     node ntfy.mjs CONFIGURATION      JSON, as the package's publish() takes it

import { publish } from "ntfy";

console.log(JSON.stringify(await publish(JSON.parse(process.argv[2]))));
