// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IGovernor} from "@openzeppelin/contracts/governance/IGovernor.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {ILedger} from "../src/interfaces/ILedger.sol";
import {ISettings} from "../src/interfaces/ISettings.sol";
import {Signature} from "../src/interfaces/Types.sol";
import {UnitsHandler} from "./UnitsHandler.sol";

/// What the council decides, the whole way and in the middle of everything else. Who has a vote, what passes, and what a
/// decision may change is computed here a second time, from README.md: what is allowed must be done, all else refused.
abstract contract CouncilHandler is UnitsHandler {
    enum Kind {
        CHANGE,
        CANCEL,
        ABDICATE
    }

    struct Place {
        address target;
        bytes32 name;
        bytes32 subject;
    }

    /// What a setting is, by what was decided.
    struct Course {
        uint256 value;
        uint256 pending;
        uint256 pendingAt;
        uint256 nextChangeAt;
        bool abdicated;
    }

    /// One at a time. `groups`: how many there were at the snapshot, 0 until then.
    struct Motion {
        uint256 id;
        Kind kind;
        uint256 which;
        uint256 value;
        uint256 snapshot;
        uint256 groups;
        uint256[3] votes;
    }

    uint8 internal constant FOR = 1;
    uint8 internal constant ABSTAIN = 2;

    Place[] internal places;
    Course[] internal courses;
    Motion internal motion;
    uint256 internal motions;
    mapping(uint256 id => mapping(address account => bool)) internal isHeard;
    mapping(uint256 id => mapping(address account => bool)) internal hasVoted;

    /// Short, so that a history has room for decisions.
    function councilArguments() internal view override returns (bytes memory) {
        return abi.encode(1 hours, 2 days, QUORUM_BPS, system);
    }

    function timelockArguments() internal view override returns (bytes memory) {
        return abi.encode(1 days, system.council);
    }

    /// By all: as many as any threshold that may be decided.
    function attested(bytes32 structHash) internal view override returns (Signature[] memory) {
        return sign(attesterKeys, typed(membersDomain(), structHash));
    }

    function appraised(ILedger.Appraisal memory a) internal view override returns (Signature[] memory) {
        return sign(appraiserKeys, typed(ledgerDomain(), hashOf(a)));
    }

    /// To one step beyond what may be, either way; every second time it is a limit of a class that people use.
    function propose(uint8 by, uint8 which, uint256 value, uint8 kind) external {
        if (motion.id != 0) return;
        address proposer = _person(by);
        motion.which = which % (which % 2 == 0 ? 8 : places.length);
        motion.kind = kind % 8 == 1 ? Kind.ABDICATE : kind % 8 == 2 ? Kind.CANCEL : Kind.CHANGE;
        (uint256 from, uint256 step) = (courses[motion.which].value, _step(motion.which));
        motion.value = bound(value, from > step ? from - step - 1 : 0, from + step + 1);
        (address[] memory targets, uint256[] memory values, bytes[] memory calls) = _calls();
        ++motions;
        uint256 id = council.getProposalId(targets, values, calls, keccak256(bytes(_why())));
        bool hasVote = members.getPastVotes(proposer, vm.getBlockTimestamp() - 1) != 0;
        bytes memory data = abi.encodeCall(IGovernor.propose, (targets, values, calls, _why()));
        assertEq(_try(proposer, address(council), data), hasVote, "proposed by who has a vote");
        if (hasVote) (motion.id, motion.snapshot) = (id, council.proposalSnapshot(id));
    }

    /// Everybody tries: who was replaced, is controlled, or has voted as well.
    function vote(uint256 seed) external {
        if (motion.id == 0) return;
        _waitUntil(motion.snapshot + 1);
        if (council.state(motion.id) != IGovernor.ProposalState.Active) return;
        for (uint256 i; i < people.length; ++i) {
            uint256 ballot = uint256(keccak256(abi.encode(seed, i))) % 8;
            if (ballot == 7) continue;
            uint8 support = ballot == 0 ? 0 : ballot == 1 ? ABSTAIN : FOR;
            bool counts = isHeard[motion.id][people[i]] && members.isActive(people[i]);
            bool done = _try(people[i], address(council), abi.encodeCall(IGovernor.castVote, (motion.id, support)));
            assertEq(done, counts && !hasVoted[motion.id][people[i]], "one group, one vote");
            if (!done) continue;
            hasVoted[motion.id][people[i]] = true;
            ++motion.votes[support];
        }
    }

    /// One step further, once somebody has voted: to the end of the vote and into the timelock, or out of it.
    function carryOut() external {
        if (motion.id == 0 || motion.groups == 0) return;
        uint256[3] memory votes = motion.votes;
        IGovernor.ProposalState state = council.state(motion.id);
        if (state == IGovernor.ProposalState.Active) {
            if (votes[0] + votes[FOR] + votes[ABSTAIN] == 0) return;
            _waitUntil(council.proposalDeadline(motion.id) + 1);
            state = council.state(motion.id);
        }
        (address[] memory targets, uint256[] memory values, bytes[] memory calls) = _calls();
        bytes32 why = keccak256(bytes(_why()));
        if (state != IGovernor.ProposalState.Queued) {
            uint256 quorum = Math.max(3, Math.ceilDiv(motion.groups * QUORUM_BPS, 10_000));
            bool passed = votes[FOR] > votes[0] && votes[FOR] + votes[ABSTAIN] >= quorum;
            bool queued =
                _try(relayer, address(council), abi.encodeCall(IGovernor.queue, (targets, values, calls, why)));
            assertEq(queued, passed, "queued is what passed");
            if (!passed) delete motion;
            return;
        }
        _waitUntil(council.proposalEta(motion.id));
        bool allowed = _isAllowed();
        bool done = _try(relayer, address(council), abi.encodeCall(IGovernor.execute, (targets, values, calls, why)));
        assertEq(done, allowed, "done is what is within bounds and step, and in time");
        if (done) _note();
        delete motion;
    }

    function enact(uint8 which, bool waits) external {
        uint256 i = which % places.length;
        for (uint256 k; k < places.length && courses[i].pendingAt == 0; ++k) {
            i = (i + 1) % places.length;
        }
        Course storage c = courses[i];
        if (waits) _waitUntil(c.pendingAt);
        bool ready = c.pendingAt != 0 && vm.getBlockTimestamp() >= c.pendingAt && _isWithin(i, c.pending);
        bytes memory data = abi.encodeCall(ISettings.enact, (places[i].name, places[i].subject));
        assertEq(_try(relayer, places[i].target, data), ready, "enacted is what has waited");
        if (!ready) return;
        (c.value, c.pending, c.pendingAt, c.nextChangeAt) = (c.pending, 0, 0, vm.getBlockTimestamp() + PERIOD);
    }

    /// By anybody but the council, in every way there is.
    function meddle(uint8 by, uint8 which, uint256 value) external {
        Place memory p = places[which % places.length];
        bytes memory data = abi.encodeCall(ISettings.change, (p.name, p.subject, value));
        assertFalse(_try(_person(by), p.target, data), "changed by another than the timelock");
        data = abi.encodeCall(timelock.schedule, (p.target, 0, data, 0, 0, 1 days));
        assertFalse(_try(_person(by), address(timelock), data), "scheduled by another than the council");
        data = abi.encodeCall(ISettings.abdicate, (p.name, p.subject));
        assertFalse(_try(_person(by), p.target, data), "given up by another than the timelock");
    }

    function pass(uint24 time) external {
        _waitUntil(vm.getBlockTimestamp() + bound(time, 1, 5 days));
    }

    /// Nothing happens until then: so who is a group now is one at a snapshot on the way, but for memberships that end.
    function _waitUntil(uint256 time) internal {
        if (time <= vm.getBlockTimestamp()) return;
        if (motion.id != 0 && motion.groups == 0 && motion.snapshot < time) {
            motion.groups = members.groups();
            for (uint256 i; i < people.length; ++i) {
                (, uint48 since, uint48 until,) = members.memberOf(people[i]);
                bool isRoot = since != 0 && members.rootOf(people[i]) == people[i];
                isHeard[motion.id][people[i]] = isRoot && until > motion.snapshot;
            }
        }
        skipTo(time);
    }

    /// What ends a standing at a snapshot that was before.
    function _beginsAnew(address account) internal {
        isHeard[motion.id][account] = false;
    }

    /// Those of the two classes that people use are the first eight.
    function _listSettings() internal {
        for (uint256 i; i < 2; ++i) {
            address target = i == 0 ? system.ledger : system.members;
            (bytes32[] memory names, bytes32[] memory subjects) = ISettings(target).settings();
            for (uint256 k; k < names.length; ++k) {
                places.push(Place(target, names[k], subjects[k]));
                courses.push(Course(ISettings(target).settingOf(names[k], subjects[k]).value, 0, 0, 0, false));
            }
        }
    }

    function _bounds(bytes32 name) internal pure returns (uint256 min, uint256 max) {
        if (name == "holdBps") return (100, 5_000);
        if (name == "useBps") return (100, 10_000);
        if (name == "minLevel") return (0, 5);
        if (name == "floorUnits") return (2, (1 << 63) - 1); // 10,000 / 5,000
        return name == "threshold" ? (2, 3) : (1, 10_000);
    }

    function _step(uint256 which) private view returns (uint256) {
        (bytes32 name, uint256 value) = (places[which].name, courses[which].value);
        if (name == "minLevel" || name == "threshold") return 1;
        if (name == "floorUnits") return Math.max(1e6, value / 4);
        return name == "admissionsPerDay" ? Math.max(1, value / 2) : 500;
    }

    function _isWithin(uint256 which, uint256 value) private view returns (bool) {
        Course memory c = courses[which];
        (uint256 min, uint256 max) = _bounds(places[which].name);
        uint256 step = value > c.value ? value - c.value : c.value - value;
        bool fits = value >= min && value <= max && step != 0 && step <= _step(which);
        return fits && vm.getBlockTimestamp() >= c.nextChangeAt && !c.abdicated;
    }

    function _isAllowed() private view returns (bool) {
        Course memory c = courses[motion.which];
        if (motion.kind == Kind.CHANGE) return _isWithin(motion.which, motion.value);
        return motion.kind == Kind.CANCEL ? c.pendingAt != 0 : !c.abdicated;
    }

    function _note() private {
        Course storage c = courses[motion.which];
        (c.pending, c.pendingAt) = (0, 0);
        if (motion.kind == Kind.ABDICATE) c.abdicated = true;
        if (motion.kind != Kind.CHANGE) return;
        bytes32 name = places[motion.which].name;
        bool higherIsTighter = name == "minLevel" || name == "threshold";
        if ((motion.value > c.value) == higherIsTighter) {
            (c.value, c.nextChangeAt) = (motion.value, vm.getBlockTimestamp() + PERIOD);
        } else {
            (c.pending, c.pendingAt) = (motion.value, vm.getBlockTimestamp() + LOOSEN_DELAY);
        }
    }

    function _calls() private view returns (address[] memory targets, uint256[] memory values, bytes[] memory calls) {
        Place memory p = places[motion.which];
        (targets, values, calls) = (new address[](1), new uint256[](1), new bytes[](1));
        targets[0] = p.target;
        calls[0] = abi.encodeCall(ISettings.change, (p.name, p.subject, motion.value));
        if (motion.kind == Kind.CANCEL) calls[0] = abi.encodeCall(ISettings.cancel, (p.name, p.subject));
        if (motion.kind == Kind.ABDICATE) calls[0] = abi.encodeCall(ISettings.abdicate, (p.name, p.subject));
    }

    function _why() private view returns (string memory) {
        return vm.toString(motions);
    }
}
