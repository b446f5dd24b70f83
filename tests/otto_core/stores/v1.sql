-- A store of version 1, as its Otto left it: one run that is over, two that were cut off.
BEGIN;
CREATE TABLE events (
    seq    INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id TEXT NOT NULL,
    at     TEXT NOT NULL,
    type   TEXT NOT NULL,
    body   TEXT NOT NULL
);
CREATE INDEX events_of_run ON events (run_id, seq);
INSERT INTO events VALUES
(1,'r-20261120-aaaa','2026-11-20T19:00:00.000000+00:00','run_started','{"elapsed_s":0.1,"intent":"Add accounts and billing to the shop","slug":"add-accounts","base":"1023f731dcb5ac975130c31b8429e0dc9ec41554","branch":"otto/add-accounts","settings":{"concurrency":4,"wall_s":null,"grace_s":5.0,"max_file_bytes":100000000,"verify_timeout_s":900.0,"locks":"unlocked","sandbox":"subreaper","max_processes":1000,"keep_worktrees":false,"lock_wait_s":0.0,"isolation":"private","worktrees":"","copied":[]},"driver":"4711@workshop","contracts":{},"dirty":[],"dirty_count":null}');
INSERT INTO events VALUES
(2,'r-20261120-aaaa','2026-11-20T19:00:00.100000+00:00','plan_stored','{"elapsed_s":0.2,"revision":1,"plan_id":"9e7c18755c72a453395c0483220a19561cbc4b9a67c12777ec48a97b77c297f9","plan":{"version":1,"intent":"Add accounts and billing to the shop","base":"1023f731dcb5ac975130c31b8429e0dc9ec41554","parent":null,"contracts":[],"verify":{"each":[{"shell":"make test","arguments":null}],"final":[],"baseline":true,"timeout_s":900.0},"setup":null,"tasks":[{"id":"models","role":"foundation","title":"Model accounts and billing","owns":["shop/models.py"],"provides":[],"depends_on":[],"after":[],"reads":[],"extends":[],"prompt":"","run":{"shell":"true","arguments":null},"agent":"command","verify":[],"timeout_s":60.0,"max_attempts":3,"retry_from":"tip","allow_empty":false,"generation":0,"priority":1},{"id":"routes","role":"foundation","title":"Start a registry of commands","owns":["shop/routes.py"],"provides":[],"depends_on":[],"after":[],"reads":[],"extends":[],"prompt":"","run":{"shell":"true","arguments":null},"agent":"command","verify":[],"timeout_s":60.0,"max_attempts":3,"retry_from":"tip","allow_empty":false,"generation":0,"priority":1},{"id":"accounts","role":"feature","title":"Open and list accounts","owns":["accounts/**"],"provides":[],"depends_on":["models"],"after":["models","routes"],"reads":[],"extends":[],"prompt":"","run":{"shell":"true","arguments":null},"agent":"command","verify":[],"timeout_s":60.0,"max_attempts":3,"retry_from":"tip","allow_empty":false,"generation":1,"priority":1},{"id":"billing","role":"feature","title":"Write invoices","owns":["billing/**"],"provides":[],"depends_on":["models"],"after":["models","routes"],"reads":[],"extends":[],"prompt":"","run":{"shell":"true","arguments":null},"agent":"command","verify":[],"timeout_s":60.0,"max_attempts":3,"retry_from":"tip","allow_empty":false,"generation":1,"priority":1},{"id":"coupons","role":"feature","title":"Take coupons","owns":["coupons/**"],"provides":[],"depends_on":[],"after":["models","routes"],"reads":[],"extends":[],"prompt":"","run":{"shell":"true","arguments":null},"agent":"command","verify":[],"timeout_s":60.0,"max_attempts":3,"retry_from":"tip","allow_empty":false,"generation":1,"priority":1},{"id":"changelog","role":"feature","title":"Tell what is new","owns":["changelog/**"],"provides":[],"depends_on":["models","routes","accounts","coupons"],"after":["models","routes","accounts","coupons"],"reads":[],"extends":[],"prompt":"","run":{"shell":"true","arguments":null},"agent":"command","verify":[],"timeout_s":60.0,"max_attempts":3,"retry_from":"tip","allow_empty":false,"generation":2,"priority":1}]}}');
INSERT INTO events VALUES
(3,'r-20261120-aaaa','2026-11-20T19:00:00.200000+00:00','attempt_started','{"elapsed_s":0.3,"task":"models","attempt":1,"revision":1,"plan_id":"9e7c18755c72a453395c0483220a19561cbc4b9a67c12777ec48a97b77c297f9","base":"1023f731dcb5ac975130c31b8429e0dc9ec41554","contracts":{},"prompt_digest":"0000000000000000000000000000000000000000000000000000000000000000","agent":"command","log":"models.1.log"}');
INSERT INTO events VALUES
(4,'r-20261120-aaaa','2026-11-20T19:00:00.300000+00:00','attempt_produced','{"elapsed_s":0.4,"task":"models","attempt":1,"snapshot":"668b14bdcaf760dbffd2599bad32e2a28728010f","tree":"cdd465fe8fa4a611bb4bc5cfc55cf7eaa1cdfb85","changed":1,"ignored":[],"exit_code":0,"summary":[],"telemetry":{"requested_model":null,"actual_model":null,"input_tokens":0,"cached_input_tokens":0,"output_tokens":0,"cost_usd":null,"duration_s":0.4,"missing":"command agent"}}');
INSERT INTO events VALUES
(5,'r-20261120-aaaa','2026-11-20T19:00:00.400000+00:00','checked','{"elapsed_s":0.5,"task":"models","attempt":1,"baseline":false,"verdict":{"command":"make test","scope":"each","tree":"cdd465fe8fa4a611bb4bc5cfc55cf7eaa1cdfb85","digest":"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd","result":"passed","exit_code":0,"duration_s":0.2,"log":"models.1.each-1.cdd465fe.log"}}');
INSERT INTO events VALUES
(6,'r-20261120-aaaa','2026-11-20T19:00:00.500000+00:00','landing_started','{"elapsed_s":0.6,"task":"models","attempt":1,"expected_tip":"1023f731dcb5ac975130c31b8429e0dc9ec41554","candidate":"adf196a8a80816350d0fdfb90e785a4141a63a0e","tree":"cdd465fe8fa4a611bb4bc5cfc55cf7eaa1cdfb85","strategy":"tree","note":"","both_changed":[]}');
INSERT INTO events VALUES
(7,'r-20261120-aaaa','2026-11-20T19:00:00.600000+00:00','landing_applied','{"elapsed_s":0.7,"task":"models","attempt":1,"commit":"adf196a8a80816350d0fdfb90e785a4141a63a0e","contracts":{}}');
INSERT INTO events VALUES
(8,'r-20261120-aaaa','2026-11-20T19:00:00.700000+00:00','branch_published','{"elapsed_s":0.8,"branch":"otto/add-accounts","commit":"adf196a8a80816350d0fdfb90e785a4141a63a0e"}');
INSERT INTO events VALUES
(9,'r-20261120-aaaa','2026-11-20T19:00:00.800000+00:00','attempt_started','{"elapsed_s":0.9,"task":"routes","attempt":1,"revision":1,"plan_id":"9e7c18755c72a453395c0483220a19561cbc4b9a67c12777ec48a97b77c297f9","base":"adf196a8a80816350d0fdfb90e785a4141a63a0e","contracts":{},"prompt_digest":"0000000000000000000000000000000000000000000000000000000000000000","agent":"command","log":"routes.1.log"}');
INSERT INTO events VALUES
(10,'r-20261120-aaaa','2026-11-20T19:00:00.900000+00:00','attempt_produced','{"elapsed_s":1.0,"task":"routes","attempt":1,"snapshot":"ff742de86ffa50cde97e3c56545984b0200fd54e","tree":"c06dca8257fce2e18b7dff1095259b5510ea779c","changed":1,"ignored":[],"exit_code":0,"summary":[],"telemetry":{"requested_model":null,"actual_model":null,"input_tokens":0,"cached_input_tokens":0,"output_tokens":0,"cost_usd":null,"duration_s":0.4,"missing":"command agent"}}');
INSERT INTO events VALUES
(11,'r-20261120-aaaa','2026-11-20T19:00:01.000000+00:00','checked','{"elapsed_s":1.1,"task":"routes","attempt":1,"baseline":false,"verdict":{"command":"make test","scope":"each","tree":"c06dca8257fce2e18b7dff1095259b5510ea779c","digest":"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd","result":"passed","exit_code":0,"duration_s":0.2,"log":"routes.1.each-1.c06dca82.log"}}');
INSERT INTO events VALUES
(12,'r-20261120-aaaa','2026-11-20T19:00:01.100000+00:00','landing_started','{"elapsed_s":1.2,"task":"routes","attempt":1,"expected_tip":"adf196a8a80816350d0fdfb90e785a4141a63a0e","candidate":"be16f7428c437839e917f79c5bfb117628c68723","tree":"c06dca8257fce2e18b7dff1095259b5510ea779c","strategy":"tree","note":"","both_changed":[]}');
INSERT INTO events VALUES
(13,'r-20261120-aaaa','2026-11-20T19:00:01.200000+00:00','landing_applied','{"elapsed_s":1.3,"task":"routes","attempt":1,"commit":"be16f7428c437839e917f79c5bfb117628c68723","contracts":{}}');
INSERT INTO events VALUES
(14,'r-20261120-aaaa','2026-11-20T19:00:01.300000+00:00','branch_published','{"elapsed_s":1.4,"branch":"otto/add-accounts","commit":"be16f7428c437839e917f79c5bfb117628c68723"}');
INSERT INTO events VALUES
(15,'r-20261120-aaaa','2026-11-20T19:00:01.400000+00:00','attempt_started','{"elapsed_s":1.5,"task":"accounts","attempt":1,"revision":1,"plan_id":"9e7c18755c72a453395c0483220a19561cbc4b9a67c12777ec48a97b77c297f9","base":"be16f7428c437839e917f79c5bfb117628c68723","contracts":{},"prompt_digest":"0000000000000000000000000000000000000000000000000000000000000000","agent":"command","log":"accounts.1.log"}');
INSERT INTO events VALUES
(16,'r-20261120-aaaa','2026-11-20T19:00:01.500000+00:00','attempt_started','{"elapsed_s":1.6,"task":"billing","attempt":1,"revision":1,"plan_id":"9e7c18755c72a453395c0483220a19561cbc4b9a67c12777ec48a97b77c297f9","base":"be16f7428c437839e917f79c5bfb117628c68723","contracts":{},"prompt_digest":"0000000000000000000000000000000000000000000000000000000000000000","agent":"command","log":"billing.1.log"}');
INSERT INTO events VALUES
(17,'r-20261120-aaaa','2026-11-20T19:00:01.600000+00:00','attempt_started','{"elapsed_s":1.7,"task":"coupons","attempt":1,"revision":1,"plan_id":"9e7c18755c72a453395c0483220a19561cbc4b9a67c12777ec48a97b77c297f9","base":"be16f7428c437839e917f79c5bfb117628c68723","contracts":{},"prompt_digest":"0000000000000000000000000000000000000000000000000000000000000000","agent":"command","log":"coupons.1.log"}');
INSERT INTO events VALUES
(18,'r-20261120-aaaa','2026-11-20T19:00:01.700000+00:00','attempt_produced','{"elapsed_s":1.8,"task":"billing","attempt":1,"snapshot":"481a1ff99b650def60a3cf43f58064623de4e5a5","tree":"0a758168171f66fb236df1ca46b57c8d3bf2b3f2","changed":1,"ignored":[],"exit_code":0,"summary":[],"telemetry":{"requested_model":null,"actual_model":null,"input_tokens":0,"cached_input_tokens":0,"output_tokens":0,"cost_usd":null,"duration_s":0.4,"missing":"command agent"}}');
INSERT INTO events VALUES
(19,'r-20261120-aaaa','2026-11-20T19:00:01.800000+00:00','attempt_failed','{"elapsed_s":1.9,"task":"coupons","attempt":1,"reason":{"kind":"write_gate","message":"the write gate refused the result: README.md is not owned by this task","hint":"nothing of it has landed; the next attempt is told","paths":["README.md"],"evidence":"coupons.1.log"},"then":"retry","snapshot":"73801e9712ca95661b8c724d688b1b3908daeba2","ignored":[],"exit_code":1,"telemetry":{"requested_model":null,"actual_model":null,"input_tokens":0,"cached_input_tokens":0,"output_tokens":0,"cost_usd":null,"duration_s":0.4,"missing":"command agent"}}');
INSERT INTO events VALUES
(20,'r-20261120-aaaa','2026-11-20T19:00:01.900000+00:00','checked','{"elapsed_s":2.0,"task":"billing","attempt":1,"baseline":false,"verdict":{"command":"make test","scope":"each","tree":"0a758168171f66fb236df1ca46b57c8d3bf2b3f2","digest":"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd","result":"passed","exit_code":0,"duration_s":0.2,"log":"billing.1.each-1.0a758168.log"}}');
INSERT INTO events VALUES
(21,'r-20261120-aaaa','2026-11-20T19:00:02.000000+00:00','landing_started','{"elapsed_s":2.1,"task":"billing","attempt":1,"expected_tip":"be16f7428c437839e917f79c5bfb117628c68723","candidate":"d63905877c4e3401ee4ff7c2cfc98cf15f6e8454","tree":"0a758168171f66fb236df1ca46b57c8d3bf2b3f2","strategy":"tree","note":"","both_changed":[]}');
INSERT INTO events VALUES
(22,'r-20261120-aaaa','2026-11-20T19:00:02.100000+00:00','landing_applied','{"elapsed_s":2.2,"task":"billing","attempt":1,"commit":"d63905877c4e3401ee4ff7c2cfc98cf15f6e8454","contracts":{}}');
INSERT INTO events VALUES
(23,'r-20261120-aaaa','2026-11-20T19:00:02.200000+00:00','branch_published','{"elapsed_s":2.3,"branch":"otto/add-accounts","commit":"d63905877c4e3401ee4ff7c2cfc98cf15f6e8454"}');
INSERT INTO events VALUES
(24,'r-20261120-aaaa','2026-11-20T19:00:02.300000+00:00','attempt_started','{"elapsed_s":2.4,"task":"coupons","attempt":2,"revision":1,"plan_id":"9e7c18755c72a453395c0483220a19561cbc4b9a67c12777ec48a97b77c297f9","base":"d63905877c4e3401ee4ff7c2cfc98cf15f6e8454","contracts":{},"prompt_digest":"0000000000000000000000000000000000000000000000000000000000000000","agent":"command","log":"coupons.2.log"}');
INSERT INTO events VALUES
(25,'r-20261120-aaaa','2026-11-20T19:00:02.400000+00:00','attempt_produced','{"elapsed_s":2.5,"task":"accounts","attempt":1,"snapshot":"d1a193910f635b8155f419c25a8145af04119e61","tree":"8012d7af090b44e129cd3476e1912f3c666a89ec","changed":2,"ignored":[],"exit_code":0,"summary":[],"telemetry":{"requested_model":null,"actual_model":null,"input_tokens":0,"cached_input_tokens":0,"output_tokens":0,"cost_usd":null,"duration_s":0.4,"missing":"command agent"}}');
INSERT INTO events VALUES
(26,'r-20261120-aaaa','2026-11-20T19:00:02.500000+00:00','attempt_failed','{"elapsed_s":2.6,"task":"coupons","attempt":2,"reason":{"kind":"agent_failed","message":"the command exited with 1: no such coupon","hint":"otto logs coupons","paths":[],"evidence":null},"then":"hold","snapshot":null,"ignored":[],"exit_code":1,"telemetry":{"requested_model":null,"actual_model":null,"input_tokens":0,"cached_input_tokens":0,"output_tokens":0,"cost_usd":null,"duration_s":0.4,"missing":"command agent"}}');
INSERT INTO events VALUES
(27,'r-20261120-aaaa','2026-11-20T19:00:02.600000+00:00','checked','{"elapsed_s":2.7,"task":"accounts","attempt":1,"baseline":false,"verdict":{"command":"make test","scope":"each","tree":"55107ca17524f438b747c0d75e6b68090e21ef26","digest":"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd","result":"passed","exit_code":0,"duration_s":0.2,"log":"accounts.1.each-1.55107ca1.log"}}');
INSERT INTO events VALUES
(28,'r-20261120-aaaa','2026-11-20T19:00:02.700000+00:00','landing_started','{"elapsed_s":2.8,"task":"accounts","attempt":1,"expected_tip":"d63905877c4e3401ee4ff7c2cfc98cf15f6e8454","candidate":"67ac407179c55a6f8ab2bed53023b6c702a33682","tree":"55107ca17524f438b747c0d75e6b68090e21ef26","strategy":"pygit2","note":"","both_changed":[]}');
INSERT INTO events VALUES
(29,'r-20261120-aaaa','2026-11-20T19:00:02.800000+00:00','landing_applied','{"elapsed_s":2.9,"task":"accounts","attempt":1,"commit":"67ac407179c55a6f8ab2bed53023b6c702a33682","contracts":{}}');
INSERT INTO events VALUES
(30,'r-20261120-aaaa','2026-11-20T19:00:02.900000+00:00','branch_published','{"elapsed_s":3.0,"branch":"otto/add-accounts","commit":"67ac407179c55a6f8ab2bed53023b6c702a33682"}');
INSERT INTO events VALUES
(31,'r-20261120-aaaa','2026-11-20T19:00:03.000000+00:00','task_failed','{"elapsed_s":3.1,"task":"coupons","reason":{"kind":"agent_failed","message":"the command exited with 1: no such coupon","hint":"otto logs coupons","paths":[],"evidence":null}}');
INSERT INTO events VALUES
(32,'r-20261120-aaaa','2026-11-20T19:00:03.100000+00:00','task_failed','{"elapsed_s":3.2,"task":"changelog","reason":{"kind":"dependency_failed","message":"''coupons'' did not land","hint":"otto show coupons","paths":[],"evidence":null}}');
INSERT INTO events VALUES
(33,'r-20261120-aaaa','2026-11-20T19:00:03.200000+00:00','run_finished','{"elapsed_s":3.3,"outcome":"partial"}');
INSERT INTO events VALUES
(34,'r-20261120-aaaa','2026-11-20T19:00:03.300000+00:00','shown','{"elapsed_s":3.4,"target":"refs/heads/main","target_commit":"1023f731dcb5ac975130c31b8429e0dc9ec41554","commit":"67ac407179c55a6f8ab2bed53023b6c702a33682"}');
INSERT INTO events VALUES
(35,'r-20261120-aaaa','2026-11-20T19:00:03.400000+00:00','delivery_started','{"elapsed_s":3.5,"target":"refs/heads/main","before":"1023f731dcb5ac975130c31b8429e0dc9ec41554","after":"67ac407179c55a6f8ab2bed53023b6c702a33682","result":"67ac407179c55a6f8ab2bed53023b6c702a33682","checkout":"/home/p\udce9/shop","strategy":null,"note":"","both_changed":[]}');
INSERT INTO events VALUES
(36,'r-20261120-aaaa','2026-11-20T19:00:03.500000+00:00','delivery_applied','{"elapsed_s":3.6,"target":"refs/heads/main","commit":"67ac407179c55a6f8ab2bed53023b6c702a33682"}');
INSERT INTO events VALUES
(37,'r-20261121-bbbb','2026-11-20T19:00:00.000000+00:00','run_started','{"elapsed_s":0.1,"intent":"Add accounts and billing to the shop","slug":"add-accounts-bbbb","base":"1023f731dcb5ac975130c31b8429e0dc9ec41554","branch":"otto/add-accounts-bbbb","settings":{"concurrency":4,"wall_s":60.0,"grace_s":5.0,"max_file_bytes":100000000,"verify_timeout_s":900.0,"locks":"unlocked","sandbox":"subreaper","max_processes":1000,"keep_worktrees":false,"lock_wait_s":0.0,"isolation":"private","worktrees":"","copied":[]},"driver":"4711@workshop","contracts":{},"dirty":[],"dirty_count":null}');
INSERT INTO events VALUES
(38,'r-20261121-bbbb','2026-11-20T19:00:00.100000+00:00','plan_stored','{"elapsed_s":0.2,"revision":1,"plan_id":"532c20ab4e550aefa2a11c40ccc3a9ec1b4661837b8f50458383d451b53331f1","plan":{"version":1,"intent":"Add accounts and billing to the shop","base":"1023f731dcb5ac975130c31b8429e0dc9ec41554","parent":null,"contracts":[],"verify":{"each":[{"shell":"make test","arguments":null}],"final":[],"baseline":true,"timeout_s":900.0},"setup":null,"tasks":[{"id":"users","role":"feature","title":"Add users","owns":["users/**"],"provides":[],"depends_on":[],"after":[],"reads":[],"extends":[],"prompt":"","run":{"shell":"true","arguments":null},"agent":"command","verify":[],"timeout_s":60.0,"max_attempts":3,"retry_from":"tip","allow_empty":false,"generation":0,"priority":1},{"id":"orders","role":"feature","title":"Add orders","owns":["orders/**"],"provides":[],"depends_on":["users"],"after":["users"],"reads":[],"extends":[],"prompt":"","run":{"shell":"true","arguments":null},"agent":"command","verify":[{"shell":"make orders","arguments":null}],"timeout_s":60.0,"max_attempts":3,"retry_from":"tip","allow_empty":false,"generation":1,"priority":1},{"id":"notes","role":"feature","title":"Add notes","owns":["notes/**"],"provides":[],"depends_on":[],"after":[],"reads":[],"extends":[],"prompt":"","run":{"shell":"true","arguments":null},"agent":"command","verify":[],"timeout_s":60.0,"max_attempts":3,"retry_from":"tip","allow_empty":true,"generation":0,"priority":1}]}}');
INSERT INTO events VALUES
(39,'r-20261121-bbbb','2026-11-20T19:00:00.200000+00:00','lock_contended','{"elapsed_s":0.3,"task":"users","pattern":"users/**","holder_run":"r-20261121-othr","holder_task":"theirs","holder":"4712@workshop","holder_pattern":"**"}');
INSERT INTO events VALUES
(40,'r-20261121-bbbb','2026-11-20T19:00:00.300000+00:00','lock_freed','{"elapsed_s":0.4,"task":"users"}');
INSERT INTO events VALUES
(41,'r-20261121-bbbb','2026-11-20T19:00:00.400000+00:00','attempt_started','{"elapsed_s":0.5,"task":"users","attempt":1,"revision":1,"plan_id":"532c20ab4e550aefa2a11c40ccc3a9ec1b4661837b8f50458383d451b53331f1","base":"1023f731dcb5ac975130c31b8429e0dc9ec41554","contracts":{},"prompt_digest":"0000000000000000000000000000000000000000000000000000000000000000","agent":"command","log":"users.1.log"}');
INSERT INTO events VALUES
(42,'r-20261121-bbbb','2026-11-20T19:00:00.500000+00:00','setup_ended','{"elapsed_s":0.6,"slot":"slot-1","key":"0000000000000000000000000000000000000000000000000000000000000000","task":"users","attempt":1,"result":"passed","duration_s":1.5,"log":"users.1.setup.log"}');
INSERT INTO events VALUES
(43,'r-20261121-bbbb','2026-11-20T19:00:00.600000+00:00','attempt_failed','{"elapsed_s":0.7,"task":"users","attempt":1,"reason":{"kind":"agent_failed","message":"the command exited with 1","hint":"otto logs it","paths":[],"evidence":null},"then":"retry","snapshot":"4095b3021a9fa0a2185ef0a5ae27f60b779d0245","ignored":[],"exit_code":1,"telemetry":{"requested_model":null,"actual_model":null,"input_tokens":0,"cached_input_tokens":0,"output_tokens":0,"cost_usd":null,"duration_s":0.4,"missing":"command agent"}}');
INSERT INTO events VALUES
(44,'r-20261121-bbbb','2026-11-20T19:00:00.700000+00:00','plan_stored','{"elapsed_s":0.8,"revision":2,"plan_id":"0041fb81b5529f89f0167034384d7f8424734f3adcbdd6d51c33702230c1c7fd","plan":{"version":1,"intent":"Add accounts and billing to the shop","base":"1023f731dcb5ac975130c31b8429e0dc9ec41554","parent":"532c20ab4e550aefa2a11c40ccc3a9ec1b4661837b8f50458383d451b53331f1","contracts":[],"verify":{"each":[{"shell":"make test","arguments":null}],"final":[],"baseline":true,"timeout_s":900.0},"setup":null,"tasks":[{"id":"users","role":"feature","title":"Add users","owns":["users/**"],"provides":[],"depends_on":[],"after":[],"reads":[],"extends":[],"prompt":"","run":{"shell":"true","arguments":null},"agent":"command","verify":[],"timeout_s":60.0,"max_attempts":3,"retry_from":"tip","allow_empty":false,"generation":0,"priority":1}]}}');
INSERT INTO events VALUES
(45,'r-20261121-bbbb','2026-11-20T19:00:00.800000+00:00','attempt_started','{"elapsed_s":0.9,"task":"users","attempt":2,"revision":2,"plan_id":"0041fb81b5529f89f0167034384d7f8424734f3adcbdd6d51c33702230c1c7fd","base":"1023f731dcb5ac975130c31b8429e0dc9ec41554","contracts":{},"prompt_digest":"0000000000000000000000000000000000000000000000000000000000000000","agent":"command","log":"users.2.log"}');
INSERT INTO events VALUES
(46,'r-20261121-bbbb','2026-11-20T19:00:00.900000+00:00','attempt_produced','{"elapsed_s":1.0,"task":"users","attempt":2,"snapshot":"ba6f81704ca11b3b34dd056d7e2a53615540466f","tree":"cf25346117b9c1a4d44d500ec4ec44c38ddb30ef","changed":1,"ignored":[],"exit_code":0,"summary":[],"telemetry":{"requested_model":null,"actual_model":null,"input_tokens":0,"cached_input_tokens":0,"output_tokens":0,"cost_usd":null,"duration_s":0.4,"missing":"command agent"}}');
INSERT INTO events VALUES
(47,'r-20261121-bbbb','2026-11-20T19:00:01.000000+00:00','checked','{"elapsed_s":1.1,"task":null,"attempt":null,"baseline":true,"verdict":{"command":"make test","scope":"each","tree":"0000000000000000000000000000000000000000","digest":"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd","result":"failed","exit_code":2,"duration_s":0.2,"log":"each.log"}}');
INSERT INTO events VALUES
(48,'r-20261121-bbbb','2026-11-20T19:00:01.100000+00:00','checked','{"elapsed_s":1.2,"task":"users","attempt":2,"baseline":false,"verdict":{"command":"make test","scope":"each","tree":"cf25346117b9c1a4d44d500ec4ec44c38ddb30ef","digest":"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd","result":"passed","exit_code":0,"duration_s":0.2,"log":"users.2.each-1.cf253461.log"}}');
INSERT INTO events VALUES
(49,'r-20261121-bbbb','2026-11-20T19:00:01.200000+00:00','landing_started','{"elapsed_s":1.3,"task":"users","attempt":2,"expected_tip":"1023f731dcb5ac975130c31b8429e0dc9ec41554","candidate":"d6282fb65da8ba816cfbc9e4fdff7ad22abf0cff","tree":"cf25346117b9c1a4d44d500ec4ec44c38ddb30ef","strategy":"tree","note":"","both_changed":[]}');
INSERT INTO events VALUES
(50,'r-20261121-bbbb','2026-11-20T19:00:01.300000+00:00','landing_applied','{"elapsed_s":1.4,"task":"users","attempt":2,"commit":"d6282fb65da8ba816cfbc9e4fdff7ad22abf0cff","contracts":{}}');
INSERT INTO events VALUES
(51,'r-20261121-bbbb','2026-11-20T19:00:01.400000+00:00','branch_published','{"elapsed_s":1.5,"branch":"otto/add-accounts-bbbb","commit":"d6282fb65da8ba816cfbc9e4fdff7ad22abf0cff"}');
INSERT INTO events VALUES
(52,'r-20261121-bbbb','2026-11-20T19:00:01.500000+00:00','attempt_started','{"elapsed_s":1.6,"task":"notes","attempt":1,"revision":1,"plan_id":"532c20ab4e550aefa2a11c40ccc3a9ec1b4661837b8f50458383d451b53331f1","base":"d6282fb65da8ba816cfbc9e4fdff7ad22abf0cff","contracts":{},"prompt_digest":"0000000000000000000000000000000000000000000000000000000000000000","agent":"command","log":"notes.1.log"}');
INSERT INTO events VALUES
(53,'r-20261121-bbbb','2026-11-20T19:00:01.600000+00:00','attempt_unchanged','{"elapsed_s":1.7,"task":"notes","attempt":1,"ignored":[],"telemetry":{"requested_model":null,"actual_model":null,"input_tokens":0,"cached_input_tokens":0,"output_tokens":0,"cost_usd":null,"duration_s":0.4,"missing":"command agent"}}');
INSERT INTO events VALUES
(54,'r-20261121-bbbb','2026-11-20T19:00:01.700000+00:00','attempt_started','{"elapsed_s":1.8,"task":"orders","attempt":1,"revision":1,"plan_id":"532c20ab4e550aefa2a11c40ccc3a9ec1b4661837b8f50458383d451b53331f1","base":"d6282fb65da8ba816cfbc9e4fdff7ad22abf0cff","contracts":{},"prompt_digest":"0000000000000000000000000000000000000000000000000000000000000000","agent":"command","log":"orders.1.log"}');
INSERT INTO events VALUES
(55,'r-20261121-bbbb','2026-11-20T19:00:01.800000+00:00','attempt_produced','{"elapsed_s":1.9,"task":"orders","attempt":1,"snapshot":"83d63d476b249399d075c5f680223966cf2807f4","tree":"7940ef3efe0b04effa011de1cb2446764b18a9be","changed":1,"ignored":[],"exit_code":0,"summary":[],"telemetry":{"requested_model":null,"actual_model":null,"input_tokens":0,"cached_input_tokens":0,"output_tokens":0,"cost_usd":null,"duration_s":0.4,"missing":"command agent"}}');
INSERT INTO events VALUES
(56,'r-20261121-bbbb','2026-11-20T19:00:01.900000+00:00','landing_rejected','{"elapsed_s":2.0,"task":"orders","attempt":1,"reason":{"kind":"conflict","message":"it does not merge","hint":"otto logs it","paths":["orders/caf\udce9"],"evidence":null},"then":"retry"}');
INSERT INTO events VALUES
(57,'r-20261121-bbbb','2026-11-20T19:00:02.000000+00:00','attempt_started','{"elapsed_s":2.1,"task":"orders","attempt":2,"revision":1,"plan_id":"532c20ab4e550aefa2a11c40ccc3a9ec1b4661837b8f50458383d451b53331f1","base":"d6282fb65da8ba816cfbc9e4fdff7ad22abf0cff","contracts":{},"prompt_digest":"0000000000000000000000000000000000000000000000000000000000000000","agent":"command","log":"orders.2.log"}');
INSERT INTO events VALUES
(58,'r-20261121-bbbb','2026-11-20T19:00:02.100000+00:00','attempt_interrupted','{"elapsed_s":2.2,"task":"orders","attempt":2,"snapshot":null,"telemetry":{"requested_model":null,"actual_model":null,"input_tokens":0,"cached_input_tokens":0,"output_tokens":0,"cost_usd":null,"duration_s":0.4,"missing":"command agent"}}');
INSERT INTO events VALUES
(59,'r-20261121-bbbb','2026-11-20T19:00:02.200000+00:00','final_checked','{"elapsed_s":2.3,"tip":"d6282fb65da8ba816cfbc9e4fdff7ad22abf0cff","regressed":[],"known":["make lint"]}');
INSERT INTO events VALUES
(60,'r-20261121-bbbb','2026-11-20T19:00:02.300000+00:00','run_paused','{"elapsed_s":2.4,"outcome":"budget","message":"`budget.wall` of 2h is used up"}');
INSERT INTO events VALUES
(61,'r-20261121-bbbb','2026-11-20T19:00:02.400000+00:00','branch_withheld','{"elapsed_s":2.5,"branch":"otto/x","why":"it is checked out in /somewhere"}');
INSERT INTO events VALUES
(62,'r-20261121-bbbb','2026-11-20T19:00:02.500000+00:00','delivery_started','{"elapsed_s":2.6,"target":"refs/heads/main","before":"1023f731dcb5ac975130c31b8429e0dc9ec41554","after":"d6282fb65da8ba816cfbc9e4fdff7ad22abf0cff","result":"d6282fb65da8ba816cfbc9e4fdff7ad22abf0cff","checkout":"","strategy":"tree","note":"n","both_changed":[{"path":"a","base":null,"tip":"1111111111111111111111111111111111111111","task":"2222222222222222222222222222222222222222","result":"3333333333333333333333333333333333333333"}]}');
INSERT INTO events VALUES
(63,'r-20261121-cccc','2026-11-20T19:00:00.000000+00:00','run_started','{"elapsed_s":0.1,"intent":"Add accounts and billing to the shop","slug":"add-accounts-cccc","base":"1023f731dcb5ac975130c31b8429e0dc9ec41554","branch":"otto/add-accounts-cccc","settings":{"concurrency":4,"wall_s":null,"grace_s":5.0,"max_file_bytes":100000000,"verify_timeout_s":900.0,"locks":"unlocked","sandbox":"subreaper","max_processes":1000,"keep_worktrees":false,"lock_wait_s":0.0,"isolation":"private","worktrees":"","copied":[]},"driver":"4711@workshop","contracts":{},"dirty":[],"dirty_count":null}');
INSERT INTO events VALUES
(64,'r-20261121-cccc','2026-11-20T19:00:00.100000+00:00','plan_stored','{"elapsed_s":0.2,"revision":1,"plan_id":"26fd4af288a552ef8167437480f51f41378680d4300f60686c0d13c454cc353e","plan":{"version":1,"intent":"Add accounts and billing to the shop","base":"1023f731dcb5ac975130c31b8429e0dc9ec41554","parent":null,"contracts":[],"verify":{"each":[{"shell":"make test","arguments":null}],"final":[],"baseline":true,"timeout_s":900.0},"setup":null,"tasks":[{"id":"late","role":"feature","title":"Add late","owns":["late/**"],"provides":[],"depends_on":[],"after":[],"reads":[],"extends":[],"prompt":"","run":{"shell":"true","arguments":null},"agent":"command","verify":[],"timeout_s":60.0,"max_attempts":3,"retry_from":"tip","allow_empty":false,"generation":0,"priority":1}]}}');
INSERT INTO events VALUES
(65,'r-20261121-cccc','2026-11-20T19:00:00.200000+00:00','attempt_started','{"elapsed_s":0.3,"task":"late","attempt":1,"revision":1,"plan_id":"26fd4af288a552ef8167437480f51f41378680d4300f60686c0d13c454cc353e","base":"1023f731dcb5ac975130c31b8429e0dc9ec41554","contracts":{},"prompt_digest":"0000000000000000000000000000000000000000000000000000000000000000","agent":"command","log":"late.1.log"}');
INSERT INTO events VALUES
(66,'r-20261121-cccc','2026-11-20T19:00:00.300000+00:00','attempt_produced','{"elapsed_s":0.4,"task":"late","attempt":1,"snapshot":"8cc7ba3f35fcd0785b3ed35543f5a9c5efc668d9","tree":"b286731ec94df8cbf52514614c2f82ff334caeaa","changed":1,"ignored":[],"exit_code":0,"summary":[],"telemetry":{"requested_model":null,"actual_model":null,"input_tokens":0,"cached_input_tokens":0,"output_tokens":0,"cost_usd":null,"duration_s":0.4,"missing":"command agent"}}');
INSERT INTO events VALUES
(67,'r-20261121-cccc','2026-11-20T19:00:00.400000+00:00','checked','{"elapsed_s":0.5,"task":"late","attempt":1,"baseline":false,"verdict":{"command":"make test","scope":"each","tree":"4444444444444444444444444444444444444444","digest":"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd","result":"passed","exit_code":0,"duration_s":0.2,"log":"late.1.each-1.44444444.log"}}');
INSERT INTO events VALUES
(68,'r-20261121-cccc','2026-11-20T19:00:00.500000+00:00','landing_started','{"elapsed_s":0.6,"task":"late","attempt":1,"expected_tip":"1023f731dcb5ac975130c31b8429e0dc9ec41554","candidate":"5555555555555555555555555555555555555555","tree":"4444444444444444444444444444444444444444","strategy":"tree","note":"","both_changed":[]}');
INSERT INTO events VALUES
(69,'r-20261121-cccc','2026-11-20T19:00:00.600000+00:00','landing_lost','{"elapsed_s":0.7,"task":"late","attempt":1}');
INSERT INTO events VALUES
(70,'r-20261121-cccc','2026-11-20T19:00:00.700000+00:00','landing_started','{"elapsed_s":0.8,"task":"late","attempt":1,"expected_tip":"1023f731dcb5ac975130c31b8429e0dc9ec41554","candidate":"6666666666666666666666666666666666666666","tree":"4444444444444444444444444444444444444444","strategy":"tree","note":"","both_changed":[]}');
INSERT INTO events VALUES
(71,'r-20261120-aaaa','2026-11-21T16:01:04.916748+00:00','delivery_started','{"elapsed_s":null,"target":"refs/heads/next","before":"1023f731dcb5ac975130c31b8429e0dc9ec41554","after":"67ac407179c55a6f8ab2bed53023b6c702a33682","result":"67ac407179c55a6f8ab2bed53023b6c702a33682","checkout":"/home/p\udce9/shop","strategy":null,"note":"","both_changed":[]}');
INSERT INTO events VALUES
(72,'r-20261120-aaaa','2026-11-21T16:01:04.917117+00:00','delivery_writing','{"elapsed_s":null,"target":"refs/heads/next"}');
INSERT INTO events VALUES
(73,'r-20261120-aaaa','2026-11-21T16:01:04.917390+00:00','delivery_undone','{"elapsed_s":null,"target":"refs/heads/next","why":"it was interrupted"}');
PRAGMA user_version = 1;
COMMIT;
