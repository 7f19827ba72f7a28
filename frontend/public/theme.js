// Before the first paint, so that a page in the chosen theme never flashes in the other.
const chosen = localStorage.getItem("sardeenz.theme");
if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
