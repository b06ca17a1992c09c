// Scores of rows by ONNX Runtime in JavaScript: node runtimes.mjs PACKAGE FOLDER GRAPH ROWS
// FOLDER has node_modules, ROWS is JSON of lists of numbers, null for NaN. Writes JSON.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const [name, folder, graph, file] = process.argv.slice(2);
const ort = createRequire(join(folder, "package.json"))(name);
if (name === "onnxruntime-web") ort.env.wasm.numThreads = 1;
const rows = JSON.parse(readFileSync(file, "utf8"));
const cells = Float64Array.from(rows.flat(), (cell) => (cell === null ? NaN : cell));
const session = await ort.InferenceSession.create(new Uint8Array(readFileSync(graph)));
const input = new ort.Tensor("float64", cells, [rows.length, rows[0].length]);
const found = await session.run({ rows: input });
const scores = Array.from(found.anomaly_score.data, (x) => (Number.isFinite(x) ? x : null));
const flags = Array.from(found.is_anomaly.data, Boolean);
console.log(JSON.stringify([scores, flags]));
