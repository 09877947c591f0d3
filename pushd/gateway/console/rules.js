// The rules that the server goes by, as they stand in its files.

import {ask} from "./api.js";
import {element} from "./dom.js";

export async function rules({place}) {
  const {files} = await ask("v1/rules");
  place.append(element("h1", {}, "Rules"));
  if (files.length === 0) place.append(element("p", {}, "There are no files of rules."));
  for (const {option, path, text} of files) {
    place.append(element("h2", {}, `${option} ${path}`), element("pre", {}, text));
  }
}
