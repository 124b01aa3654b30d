// The door: a personal link carries its token behind the #, which browsers send to nobody. It is
// exchanged for a cookie that scripts cannot read, and wiped from the address bar.
const said = document.getElementById("said");
const token = location.hash.slice(1);
history.replaceState(null, "", "/join");

const open = async () => {
  if (!token) return "This link is not complete: open it again as you got it.";
  const answer = await fetch("/api/join", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ token }),
  });
  const told = await answer.json();
  if (!answer.ok) return `This did not work: ${told.error}.`;
  location.replace(told.page);
  return "Opening your page …";
};

open().then(
  (text) => { said.textContent = text; },
  () => { said.textContent = "The server does not answer. Is it running? Then open the link again."; },
);
