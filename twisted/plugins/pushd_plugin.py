"""What makes ``twistd pushd`` known to Twisted; everything else is in ``pushd.service``."""

from twisted.application.reactors import Reactor
from twisted.application.service import ServiceMaker

pushd = ServiceMaker("pushd", "pushd.service.tap", "An MQTT broker with an HTTP push gateway.", "pushd")
turn = Reactor("pushd", "pushd.service.reactor", "epoll(7) with less ado; what twistd pushd takes.")
