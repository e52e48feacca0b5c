-- Each fact once, whatever was replayed.

CREATE OR REPLACE VIEW messages AS SELECT * FROM messages_data FINAL;

CREATE OR REPLACE VIEW span_logs AS SELECT * FROM span_logs_data FINAL;

CREATE OR REPLACE VIEW requests AS SELECT * FROM requests_data FINAL;

CREATE OR REPLACE VIEW dead_letters AS SELECT * FROM dead_letters_data FINAL;

CREATE OR REPLACE VIEW usage AS SELECT * FROM usage_data FINAL;
