-- Version 1: the history of the status.
--
-- The same table holds all resolutions: a row is about the `step` seconds that begin at `at`. Rows of 10 s are
-- samples. Those of 60 s sum up rows of 10 s, and those of 3600 s rows of 60 s. A figure is the average over the
-- `samples` that there were, NAME_min and NAME_max its lowest and highest sample, NULL if nothing is known.
-- Figures are explained in pushd/stats/figures.py. Times are Unix seconds, and no calendar's: a step of a day
-- begins at midnight UTC.
CREATE TABLE IF NOT EXISTS status (
  step INTEGER NOT NULL,
  at BIGINT NOT NULL,
  samples INTEGER NOT NULL,
  uptime_s DOUBLE, uptime_s_min DOUBLE,
  cpu_percent DOUBLE, cpu_percent_max DOUBLE,
  memory_bytes DOUBLE, memory_bytes_max DOUBLE,
  open_files DOUBLE, open_files_max DOUBLE,
  machine_cpu_percent DOUBLE, machine_cpu_percent_max DOUBLE,
  machine_memory_bytes DOUBLE, machine_memory_bytes_max DOUBLE,
  machine_network_received_bytes_per_s DOUBLE, machine_network_received_bytes_per_s_max DOUBLE,
  machine_network_sent_bytes_per_s DOUBLE, machine_network_sent_bytes_per_s_max DOUBLE,
  event_loop_late_ms DOUBLE, event_loop_late_ms_max DOUBLE,
  connections DOUBLE, connections_max DOUBLE,
  clients_connected DOUBLE, clients_connected_min DOUBLE, clients_connected_max DOUBLE,
  clients_total DOUBLE, clients_total_max DOUBLE,
  subscriptions DOUBLE, subscriptions_min DOUBLE, subscriptions_max DOUBLE,
  retained_messages DOUBLE,
  waiting_messages DOUBLE, waiting_messages_max DOUBLE,
  scheduled_messages DOUBLE,
  stored_bytes DOUBLE, stored_bytes_max DOUBLE,
  unsent_bytes DOUBLE, unsent_bytes_max DOUBLE,
  connects_per_s DOUBLE, connects_per_s_max DOUBLE,
  messages_received_per_s DOUBLE, messages_received_per_s_max DOUBLE,
  messages_sent_per_s DOUBLE, messages_sent_per_s_max DOUBLE,
  bytes_received_per_s DOUBLE, bytes_received_per_s_max DOUBLE,
  bytes_sent_per_s DOUBLE, bytes_sent_per_s_max DOUBLE,
  dropped_per_s DOUBLE, dropped_per_s_max DOUBLE,
  store_commits_per_s DOUBLE,
  store_commit_ms DOUBLE,
  store_longest_commit_ms DOUBLE, store_longest_commit_ms_max DOUBLE,
  PRIMARY KEY (step, at)
);

-- Messages that subscribers did not get in these seconds, where there were any. `reason` is a word of pushd's,
-- such as queue_full.
CREATE TABLE IF NOT EXISTS status_drops (
  step INTEGER NOT NULL,
  at BIGINT NOT NULL,
  reason VARCHAR(64) NOT NULL,
  messages BIGINT NOT NULL,
  PRIMARY KEY (step, at, reason)
);
