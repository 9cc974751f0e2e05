-- A study that Optuna 2.10.1 wrote: four trials, of which one was pruned and one failed.
BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL,
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('v2.6.0.a');
CREATE TABLE studies (
	study_id INTEGER NOT NULL,
	study_name VARCHAR(512) NOT NULL,
	PRIMARY KEY (study_id)
);
INSERT INTO "studies" VALUES(1,'old');
CREATE TABLE study_directions (
	study_direction_id INTEGER NOT NULL,
	direction VARCHAR(8) NOT NULL,
	study_id INTEGER NOT NULL,
	objective INTEGER NOT NULL,
	PRIMARY KEY (study_direction_id),
	UNIQUE (study_id, objective),
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_directions" VALUES(1,'MINIMIZE',1,0);
CREATE TABLE study_system_attributes (
	study_system_attribute_id INTEGER NOT NULL,
	study_id INTEGER,
	"key" VARCHAR(512),
	value_json TEXT,
	PRIMARY KEY (study_system_attribute_id),
	UNIQUE (study_id, "key"),
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
CREATE TABLE study_user_attributes (
	study_user_attribute_id INTEGER NOT NULL,
	study_id INTEGER,
	"key" VARCHAR(512),
	value_json TEXT,
	PRIMARY KEY (study_user_attribute_id),
	UNIQUE (study_id, "key"),
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_user_attributes" VALUES(1,1,'a','1');
CREATE TABLE trial_heartbeats (
	trial_heartbeat_id INTEGER NOT NULL,
	trial_id INTEGER NOT NULL,
	heartbeat DATETIME NOT NULL,
	PRIMARY KEY (trial_heartbeat_id),
	UNIQUE (trial_id),
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_intermediate_values (
	trial_intermediate_value_id INTEGER NOT NULL,
	trial_id INTEGER NOT NULL,
	step INTEGER NOT NULL,
	intermediate_value FLOAT NOT NULL,
	PRIMARY KEY (trial_intermediate_value_id),
	UNIQUE (trial_id, step),
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_intermediate_values" VALUES(1,1,0,1.03174714586730803533e-02);
INSERT INTO "trial_intermediate_values" VALUES(2,1,1,1.01031747145867312198e+00);
INSERT INTO "trial_intermediate_values" VALUES(3,1,2,2.01031747145867312198e+00);
INSERT INTO "trial_intermediate_values" VALUES(4,2,0,5.57379816562280416825e-01);
INSERT INTO "trial_intermediate_values" VALUES(5,2,1,1.55737981656228052784e+00);
INSERT INTO "trial_intermediate_values" VALUES(6,2,2,2.55737981656228052784e+00);
INSERT INTO "trial_intermediate_values" VALUES(7,3,0,2.03857986147745195992e+00);
INSERT INTO "trial_intermediate_values" VALUES(8,3,1,3.03857986147745195992e+00);
INSERT INTO "trial_intermediate_values" VALUES(9,3,2,4.03857986147745151583e+00);
INSERT INTO "trial_intermediate_values" VALUES(10,4,0,7.73319978953013098532e+00);
INSERT INTO "trial_intermediate_values" VALUES(11,4,1,8.73319978953013098532e+00);
INSERT INTO "trial_intermediate_values" VALUES(12,4,2,9.73319978953013098532e+00);
CREATE TABLE trial_params (
	param_id INTEGER NOT NULL,
	trial_id INTEGER,
	param_name VARCHAR(512),
	param_value FLOAT,
	distribution_json TEXT,
	PRIMARY KEY (param_id),
	UNIQUE (trial_id, param_name),
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_params" VALUES(1,1,'x',1.01574954879010803665e-01,'{"name": "UniformDistribution", "attributes": {"low": -3.0, "high": 3.0}}');
INSERT INTO "trial_params" VALUES(2,1,'lr',3.21503972023897063858e-02,'{"name": "LogUniformDistribution", "attributes": {"low": 1e-05, "high": 0.1}}');
INSERT INTO "trial_params" VALUES(3,1,'n',3.0,'{"name": "IntUniformDistribution", "attributes": {"low": 1, "high": 9, "step": 1}}');
INSERT INTO "trial_params" VALUES(4,1,'c',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["a", null, true]}}');
INSERT INTO "trial_params" VALUES(5,1,'u',1.3012085461384204077e-01,'{"name": "UniformDistribution", "attributes": {"low": 0.0, "high": 1.0}}');
INSERT INTO "trial_params" VALUES(6,1,'d',0.0,'{"name": "DiscreteUniformDistribution", "attributes": {"low": 0.0, "high": 1.0, "q": 0.25}}');
INSERT INTO "trial_params" VALUES(7,2,'x',-0.746578741032907,'{"name": "UniformDistribution", "attributes": {"low": -3.0, "high": 3.0}}');
INSERT INTO "trial_params" VALUES(8,2,'lr',4.21598944953318829909e-03,'{"name": "LogUniformDistribution", "attributes": {"low": 1e-05, "high": 0.1}}');
INSERT INTO "trial_params" VALUES(9,2,'n',1.0,'{"name": "IntUniformDistribution", "attributes": {"low": 1, "high": 9, "step": 1}}');
INSERT INTO "trial_params" VALUES(10,2,'c',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["a", null, true]}}');
INSERT INTO "trial_params" VALUES(11,2,'u',3.5844254478426085253e-01,'{"name": "UniformDistribution", "attributes": {"low": 0.0, "high": 1.0}}');
INSERT INTO "trial_params" VALUES(12,2,'d',0.0,'{"name": "DiscreteUniformDistribution", "attributes": {"low": 0.0, "high": 1.0, "q": 0.25}}');
INSERT INTO "trial_params" VALUES(13,3,'x',-1.42778845123409370287e+00,'{"name": "UniformDistribution", "attributes": {"low": -3.0, "high": 3.0}}');
INSERT INTO "trial_params" VALUES(14,3,'lr',1.84752107660452095736e-05,'{"name": "LogUniformDistribution", "attributes": {"low": 1e-05, "high": 0.1}}');
INSERT INTO "trial_params" VALUES(15,3,'n',7.0,'{"name": "IntUniformDistribution", "attributes": {"low": 1, "high": 9, "step": 1}}');
INSERT INTO "trial_params" VALUES(16,3,'c',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["a", null, true]}}');
INSERT INTO "trial_params" VALUES(17,3,'u',1.48805571041858875069e-01,'{"name": "UniformDistribution", "attributes": {"low": 0.0, "high": 1.0}}');
INSERT INTO "trial_params" VALUES(18,3,'d',0.5,'{"name": "DiscreteUniformDistribution", "attributes": {"low": 0.0, "high": 1.0, "q": 0.25}}');
INSERT INTO "trial_params" VALUES(19,4,'x',-2.78086313750427693847e+00,'{"name": "UniformDistribution", "attributes": {"low": -3.0, "high": 3.0}}');
INSERT INTO "trial_params" VALUES(20,4,'lr',5.16480002786987588483e-04,'{"name": "LogUniformDistribution", "attributes": {"low": 1e-05, "high": 0.1}}');
INSERT INTO "trial_params" VALUES(21,4,'n',4.0,'{"name": "IntUniformDistribution", "attributes": {"low": 1, "high": 9, "step": 1}}');
INSERT INTO "trial_params" VALUES(22,4,'c',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["a", null, true]}}');
INSERT INTO "trial_params" VALUES(23,4,'u',5.73284279268474250557e-01,'{"name": "UniformDistribution", "attributes": {"low": 0.0, "high": 1.0}}');
INSERT INTO "trial_params" VALUES(24,4,'d',0.25,'{"name": "DiscreteUniformDistribution", "attributes": {"low": 0.0, "high": 1.0, "q": 0.25}}');
CREATE TABLE trial_system_attributes (
	trial_system_attribute_id INTEGER NOT NULL,
	trial_id INTEGER,
	"key" VARCHAR(512),
	value_json TEXT,
	PRIMARY KEY (trial_system_attribute_id),
	UNIQUE (trial_id, "key"),
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_user_attributes (
	trial_user_attribute_id INTEGER NOT NULL,
	trial_id INTEGER,
	"key" VARCHAR(512),
	value_json TEXT,
	PRIMARY KEY (trial_user_attribute_id),
	UNIQUE (trial_id, "key"),
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_user_attributes" VALUES(1,1,'note','{"k": [1, 2]}');
INSERT INTO "trial_user_attributes" VALUES(2,2,'note','{"k": [1, 2]}');
INSERT INTO "trial_user_attributes" VALUES(3,3,'note','{"k": [1, 2]}');
INSERT INTO "trial_user_attributes" VALUES(4,4,'note','{"k": [1, 2]}');
CREATE TABLE trial_values (
	trial_value_id INTEGER NOT NULL,
	trial_id INTEGER NOT NULL,
	objective INTEGER NOT NULL,
	value FLOAT NOT NULL,
	PRIMARY KEY (trial_value_id),
	UNIQUE (trial_id, objective),
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_values" VALUES(1,1,0,3.01031747145867312198e+00);
INSERT INTO "trial_values" VALUES(2,2,0,1.55737981656228052784e+00);
INSERT INTO "trial_values" VALUES(3,3,0,4.03857986147745151583e+00);
CREATE TABLE trials (
	trial_id INTEGER NOT NULL,
	number INTEGER,
	study_id INTEGER,
	state VARCHAR(8) NOT NULL,
	datetime_start DATETIME,
	datetime_complete DATETIME,
	PRIMARY KEY (trial_id),
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "trials" VALUES(1,0,1,'COMPLETE','2026-11-21 10:41:14.852281','2026-11-21 10:41:15.156276');
INSERT INTO "trials" VALUES(2,1,1,'COMPLETE','2026-11-21 10:41:15.230062','2026-11-21 10:41:15.514197');
INSERT INTO "trials" VALUES(3,2,1,'PRUNED','2026-11-21 10:41:15.561405','2026-11-21 10:41:15.793635');
INSERT INTO "trials" VALUES(4,3,1,'FAIL','2026-11-21 10:41:15.805028','2026-11-21 10:41:16.075682');
CREATE TABLE version_info (
	version_info_id INTEGER NOT NULL,
	schema_version INTEGER,
	library_version VARCHAR(256),
	PRIMARY KEY (version_info_id),
	CHECK (version_info_id=1)
);
INSERT INTO "version_info" VALUES(1,12,'2.10.1');
CREATE UNIQUE INDEX ix_studies_study_name ON studies (study_name);
COMMIT;
