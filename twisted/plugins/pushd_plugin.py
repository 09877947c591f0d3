"""What makes ``twistd pushd`` known to Twisted; everything else is in ``pushd.service.tap``."""

from twisted.application.service import ServiceMaker

pushd = ServiceMaker("pushd", "pushd.service.tap", "An MQTT broker with an HTTP push gateway.", "pushd")
