// @ts-check
// Runs before anything is painted, so that a chosen theme or language does not flash in another one first.
{
  const root = document.documentElement;
  root.dataset.theme = sessionStorage.getItem("entasis.theme") ?? "auto";
  root.lang = sessionStorage.getItem("entasis.language") ?? (navigator.language.startsWith("ko") ? "ko" : "en");
}
