// An MQTT broker (aedes) that keeps sessions in memory and sends again what was not acknowledged. Argument: port.
"use strict";
const net = require("node:net");
const aedes = require("aedes")();

net.createServer(aedes.handle).listen(Number(process.argv[2]), "127.0.0.1", () => console.log("ready"));
process.stdin.on("end", () => process.exit(0)).resume();
