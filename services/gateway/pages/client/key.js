// Sends a key with what the page at /client/ asks of its gateway, where one was entered at the console in this tab.
//
// The page itself knows of no keys. The gateway has its main script import this first (client_page.py).

const KEY = "pipefleet-key";
const browsersFetch = window.fetch;

window.fetch = async (...given) => {
  const request = new Request(...given);
  if (new URL(request.url).origin !== location.origin) return browsersFetch(...given);
  const key = sessionStorage.getItem(KEY);
  if (key && !request.headers.has("Authorization")) request.headers.set("Authorization", `Bearer ${key}`);
  const response = await browsersFetch(request);
  if (response.status === 401) sayWhere();
  return response;
};

// Once: where a key can be entered.
function sayWhere() {
  if (document.getElementById("pipefleet-key")) return;
  const place = document.createElement("p");
  const link = document.createElement("a");
  place.id = "pipefleet-key";
  place.setAttribute("role", "alert");
  Object.assign(place.style, { position: "fixed", inset: "0 0 auto", margin: "0", padding: "0.5rem", zIndex: "1000" });
  Object.assign(place.style, { background: "#b3141b", color: "#fff", textAlign: "center" });
  link.href = "/";
  link.style.textDecoration = "underline";
  link.textContent = "the console";
  place.append("This fleet wants a key: enter it at ", link, ", and come back from there.");
  document.body.append(place);
}
