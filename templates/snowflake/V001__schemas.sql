-- Schemas, and the loader's own books. The database is the session's; names here have two parts.
CREATE SCHEMA IF NOT EXISTS CUSTOMER_360 COMMENT = 'Who the customers are, what they bought, how they were served';
CREATE SCHEMA IF NOT EXISTS CUSTOMER_BEHAVIOR COMMENT = 'What customers do on the site, in the app and with messages';
CREATE SCHEMA IF NOT EXISTS RECOMMENDATIONS COMMENT = 'What the models offered, and what came of it';
CREATE SCHEMA IF NOT EXISTS OPS COMMENT = 'Migrations, loads, and who may see which country';

CREATE TABLE IF NOT EXISTS OPS.MIGRATION (
  VERSION VARCHAR(10) NOT NULL COMMENT 'The file''s number, such as V001',
  NAME VARCHAR(200) NOT NULL COMMENT 'The file''s name',
  CHECKSUM VARCHAR(64) NOT NULL COMMENT 'SHA-256 of the file as it was applied',
  APPLIED_AT TIMESTAMP_NTZ NOT NULL COMMENT 'When it was applied (UTC)',
  PRIMARY KEY (VERSION)
) COMMENT = 'Which migrations the warehouse has';

CREATE TABLE IF NOT EXISTS OPS.LOAD_LEDGER (
  TARGET VARCHAR(200) NOT NULL COMMENT 'The table loaded, schema.table',
  LOAD_ID VARCHAR(64) NOT NULL COMMENT 'Hash of the sources'' versions and of the load''s SQL',
  SEQUENCE NUMBER(18, 0) NOT NULL COMMENT 'Loads of this table so far, this one included',
  SOURCES VARCHAR NOT NULL COMMENT 'JSON: source -> [Delta table id, version]',
  TARGET_ROWS NUMBER(18, 0) NOT NULL COMMENT 'Rows in the table after the load',
  LOADED_AT TIMESTAMP_NTZ NOT NULL COMMENT 'The load''s time (UTC)',
  PRIMARY KEY (TARGET, SEQUENCE)
) COMMENT = 'What was loaded into each table, committed together with its rows';

CREATE TABLE IF NOT EXISTS OPS.LOAD_LOCK (
  NAME VARCHAR(20) NOT NULL COMMENT 'Always LOAD',
  HOLDER VARCHAR(64) COMMENT 'The load that updated the row last; an open transaction on it keeps other loads waiting',
  PRIMARY KEY (NAME)
) COMMENT = 'One row; each load updates it first, so that one commits at a time';

CREATE TABLE IF NOT EXISTS OPS.COUNTRY_ACCESS (
  ROLE_NAME VARCHAR(200) NOT NULL COMMENT 'A role of the account',
  COUNTRY_CODE VARCHAR(3) NOT NULL COMMENT 'ISO 3166-1 alpha-3; the role sees customers of this country',
  PRIMARY KEY (ROLE_NAME, COUNTRY_CODE)
) COMMENT = 'Which roles see the customers of which countries; read by the row access policy';
