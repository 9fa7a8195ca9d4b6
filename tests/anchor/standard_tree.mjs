// Reads rows of leaf values from stdin, one JSON array a line; writes the package's dump, root and all proofs for each.
import { createInterface } from "node:readline";
import { createRequire } from "node:module";

const require = createRequire(process.argv[2] + "/");
const { StandardMerkleTree } = require("@openzeppelin/merkle-tree");
const ENCODING = ["uint8", "bytes32", "bytes32", "uint64"];

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  if (request.load) {
    const tree = StandardMerkleTree.load(request.load); // throws when the tree is not valid
    console.log(JSON.stringify({ root: tree.root }));
  } else {
    const tree = StandardMerkleTree.of(request.values, ENCODING);
    const proofs = request.values.map((_, i) => tree.getProof(i));
    console.log(JSON.stringify({ root: tree.root, dump: tree.dump(), proofs }));
  }
}
