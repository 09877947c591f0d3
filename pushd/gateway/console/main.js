// Which view is shown: the part of the address behind #. Each view is a function of
//     place     the element that it fills
//     words     what stands behind its name in the address
//     signal    aborted when another view is shown: whatever it has begun stops then
//     complain  told of what went wrong later, after the function has returned

import {ask, isLoggedIn, logIn, logOut, Refused} from "./api.js";
import {element, notice} from "./dom.js";
import {client, clients} from "./clients.js";
import {overview} from "./overview.js";
import {push} from "./push.js";
import {rules} from "./rules.js";
import {topics} from "./topics.js";

const VIEWS = {"": overview, topics, clients, client, push, rules};

let shown = new AbortController();

async function show() {
  shown.abort();
  shown = new AbortController();
  const {signal} = shown;
  const words = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  const place = element("div");
  const complain = (problem) => signal.aborted || tell(place, problem);
  document.getElementById("view").replaceChildren(place);
  document.getElementById("bar").hidden = !isLoggedIn();
  markLink(words[0]);
  if (!isLoggedIn()) {
    place.append(loginForm());
    return;
  }
  try {
    await (VIEWS[words[0]] ?? nothing)({place, words: words.slice(1), signal, complain});
  } catch (problem) {
    complain(problem);
  }
}

// A login that was refused is forgotten; anything else is told, and the view stays.
function tell(place, problem) {
  if (problem instanceof Refused && problem.status === 401) {
    logOut();
    show();
    notice("That user name or password is wrong.");
  } else if (problem instanceof Refused && problem.status === 403) {
    place.replaceChildren(element("p", {}, "This user may not see this. Administrators are named by admin_user."));
  } else {
    notice(problem.message);
  }
}

function nothing({place}) {
  place.append(element("p", {}, "There is nothing here."));
}

function markLink(word) {
  for (const link of document.querySelectorAll("nav a")) {
    const target = link.getAttribute("href").slice(2);
    const current = target === (word === "client" ? "clients" : word);
    if (current) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function loginForm() {
  const username = element("input", {name: "username", autocomplete: "username", required: true, autofocus: true});
  const password = element("input", {
    name: "password", type: "password", autocomplete: "current-password", required: true,
  });
  return element(
    "form",
    {
      class: "sheet",
      submit: async (event) => {
        event.preventDefault();
        logIn(username.value, password.value);
        try {
          await ask("v1/status");
          show();
        } catch (problem) {
          if (problem.status !== 403) logOut();
          tell(event.target, problem);
        }
      },
    },
    element("h1", {}, "pushd"),
    element("label", {}, "User name", username),
    element("label", {}, "Password", password),
    element("div", {}, element("button", {}, "Log in")),
  );
}

document.getElementById("leave").addEventListener("click", () => {
  logOut();
  show();
});
addEventListener("hashchange", show);
show();
