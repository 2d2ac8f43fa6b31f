// Text in pieces, cut anywhere → the server-sent events in it.

/** Returns `feed(text)`: takes the next piece, returns the data of the events it completes. */
export function eventParser() {
  let held = "";
  return function feed(text) {
    held += text;
    const blocks = held.split(/\r?\n\r?\n/);
    held = blocks.pop();
    return blocks.map(dataOf).filter((data) => data !== "");
  };
}

function dataOf(block) {
  return block
    .split(/\r?\n/)
    .filter((line) => line.startsWith("data:"))
    .map((line) => line.slice(5).replace(/^ /, ""))
    .join("\n");
}
