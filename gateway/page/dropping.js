// Files that are dropped anywhere on the page.

/** Calls `take` with an array of them; `target` shows meanwhile that they may be dropped. */
export function onDrop(target, take) {
  const carriesFile = (event) => event.dataTransfer?.types.includes("Files");
  for (const kind of ["dragenter", "dragover"]) {
    document.addEventListener(kind, (event) => {
      if (!carriesFile(event)) return;
      event.preventDefault();
      target.classList.add("over");
    });
  }
  document.addEventListener("dragleave", (event) => event.relatedTarget || target.classList.remove("over"));
  document.addEventListener("drop", (event) => {
    if (!carriesFile(event)) return;
    event.preventDefault();
    target.classList.remove("over");
    take([...event.dataTransfer.files]);
  });
}
