// The page of a personal link. The link carries its token behind the #, which browsers send to
// nobody. The token is exchanged for a cookie that scripts cannot read, and wiped from the address.
const status = document.getElementById("said");
const token = location.hash.slice(1);
history.replaceState(null, "", "/join");

const open = async () => {
  if (!token) return "This link is not complete. Open it again exactly as you got it.";
  const answer = await fetch("/api/join", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ token }),
  });
  const received = await answer.json();
  if (!answer.ok) return `This did not work: ${received.error}.`;
  location.replace(received.page);
  return "Opening your page …";
};

open().then(
  (text) => { status.textContent = text; },
  () => { status.textContent = "The server does not answer. Start it, then open the link again."; },
);
