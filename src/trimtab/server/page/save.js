// The page as one HTML file: its texts with their traces, its style and its scripts. Sliders work in it; the model is
// not there.

const MODULES = [
  "steering", "variants", "visible", "client", "examples", "link", "requests", "writing", "column", "conversation",
  "inspector", "sliders", "search", "save", "main",
]; // each after those that it imports
const POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'";

async function read(path) {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`The server did not give ${path}.`);
  return response.text();
}

// Modules as one: without their imports and exports. Their top-level names are all different.
function joinModules(sources) {
  const plain = sources.map((text) => text.replace(/^import .*;\n/gm, "").replace(/^export /gm, ""));
  return plain.join("\n").replaceAll("</", "<\\/");
}

// The file's text. snapshot: what main.js shows in place of the server's answers.
export async function savedPage(snapshot) {
  const [page, tree, style, ...sources] = await Promise.all([
    read("./"), read("page/tree.css"), read("page/style.css"), ...MODULES.map((name) => read(`page/${name}.js`)),
  ]);
  const data = JSON.stringify(snapshot).replaceAll("<", "\\u003c");
  const head = `<meta http-equiv="Content-Security-Policy" content="${POLICY}">\n<style>\n${tree}${style}</style>\n</head>`;
  const script = joinModules(sources);
  const tail =
    `<script type="application/json" id="snapshot">${data}</script>\n<script type="module">\n${script}</script>\n</body>`;
  return page
    .replace(/<link [^>]*>\n/g, "")
    .replace(/<script [^>]*><\/script>\n/, "")
    .replace("</head>", () => head)
    .replace("</body>", () => tail);
}

export function download(name, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/html" }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}
