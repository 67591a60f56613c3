"""MQTT: topics of a broker, each message acknowledged when it has reached the recorder."""

from adapters.mqtt.adapter import MqttAdapter
from adapters.mqtt.config import MqttOptions, MqttSignal

__all__ = ["MqttAdapter", "MqttOptions", "MqttSignal"]
