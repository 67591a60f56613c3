// An OPC UA server of node-opcua whose Count rises every 20 ms. Arguments: port, folder for its certificates.
"use strict";
const readline = require("node:readline");
const { OPCUAServer } = require("node-opcua-server");
const { OPCUACertificateManager } = require("node-opcua-certificate-manager");
const { DataType, Variant } = require("node-opcua-variant");
const { StatusCodes } = require("node-opcua-status-code");

async function main() {
  const [port, folder] = [Number(process.argv[2]), process.argv[3]];
  const certificates = new OPCUACertificateManager({ rootFolder: folder, automaticallyAcceptUnknownCertificate: true });
  await certificates.initialize();
  const server = new OPCUAServer({
    port,
    resourcePath: "/dari",
    hostname: "127.0.0.1",
    serverCertificateManager: certificates,
    userCertificateManager: certificates,
    securityPolicies: ["http://opcfoundation.org/UA/SecurityPolicy#None"],
    securityModes: [1],
  });
  await server.initialize();
  const space = server.engine.addressSpace;
  const namespace = space.registerNamespace("urn:dari:node");
  const cell = namespace.addObject({ organizedBy: space.rootFolder.objects, browseName: "Cell" });
  const nodes = {};
  for (const [name, dataType, value] of [
    ["Count", DataType.Int32, 0],
    ["Force", DataType.Double, 1.5],
    ["Name", DataType.String, "온도"],
  ]) {
    nodes[name] = namespace.addVariable({ componentOf: cell, browseName: name, nodeId: `s=${name}`, dataType });
    nodes[name].setValueFromSource(new Variant({ dataType, value }));
  }
  await server.start();
  let count = 0;
  setInterval(() => nodes.Count.setValueFromSource(new Variant({ dataType: DataType.Int32, value: ++count })), 20);
  console.log("ready");
  const lines = readline.createInterface({ input: process.stdin });
  lines.on("line", (line) => {
    const command = JSON.parse(line);
    if (command.burst) {
      for (let i = 0; i < command.count; i++) {
        nodes[command.burst].setValueFromSource(new Variant({ dataType: DataType.Double, value: i }));
      }
    }
    if (command.delete) {
      space.deleteNode(nodes[command.delete]);
    }
    if (command.bad) {
      nodes[command.bad].setValueFromSource(new Variant({ dataType: DataType.Null }), StatusCodes.BadDeviceFailure);
    }
    console.log("done");
  });
  lines.on("close", () => process.exit(0));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
