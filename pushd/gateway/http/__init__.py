"""HTTP as this gateway speaks it: connections, requests, answers, errors, and answers that go on."""
