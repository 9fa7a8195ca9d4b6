// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {Governor} from "@openzeppelin/contracts/governance/Governor.sol";
import {IGovernor} from "@openzeppelin/contracts/governance/IGovernor.sol";
import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";
import {GovernorTimelockControl} from "@openzeppelin/contracts/governance/extensions/GovernorTimelockControl.sol";

import {ICouncil} from "../src/interfaces/ICouncil.sol";
import {ILedger} from "../src/interfaces/ILedger.sol";
import {IQuorum} from "../src/interfaces/IQuorum.sol";
import {ISettings} from "../src/interfaces/ISettings.sol";
import {Kind, NotSelf, ZeroAddress} from "../src/interfaces/Types.sol";
import {Base} from "./Base.t.sol";

/// The way of a proposal from the vote to what it changes, and all that it can never change.
contract ProposeTest is Base {
    bytes32 internal constant HOLD = "holdBps";
    bytes32 internal constant WHY = keccak256("why");

    address[] internal targets;
    uint256[] internal values;
    bytes[] internal calls;

    function setUp() public override {
        super.setUp();
        skipTo(START + 1); // the proposer's vote is read one second before
    }

    /// Whoever sends another's proposal first can take it back, and then it is gone. One that ends with its proposer's
    /// address nobody else can send.
    function testProposeAnothersProposal() public {
        bytes memory data = abi.encodeCall(ISettings.change, (HOLD, GPUS, HOLD_BPS - 500));
        uint256 id = _propose(affiliate, system.ledger, data);
        vm.prank(affiliate);
        council.cancel(targets, values, calls, WHY);
        vm.expectRevert(
            abi.encodeWithSelector(
                IGovernor.GovernorUnexpectedProposalState.selector, id, IGovernor.ProposalState.Canceled, bytes32(0)
            )
        );
        vm.prank(provider);
        council.propose(targets, values, calls, "why");

        string memory why = string.concat("why #proposer=", vm.toString(provider));
        vm.expectRevert(abi.encodeWithSelector(IGovernor.GovernorRestrictedProposer.selector, affiliate));
        vm.prank(affiliate);
        council.propose(targets, values, calls, why);
        vm.prank(provider);
        council.propose(targets, values, calls, why);
    }

    /// The whole life of a proposal that tightens a limit.
    function testTightenAHoldingLimit() public {
        uint256 id = _propose(provider, system.ledger, abi.encodeCall(ISettings.change, (HOLD, GPUS, HOLD_BPS - 500)));
        uint256 snapshot = START + 1 + VOTING_DELAY;
        assertEq(council.proposalSnapshot(id), snapshot);
        assertEq(council.proposalDeadline(id), snapshot + VOTING_PERIOD);
        assertEq(council.proposalProposer(id), provider);
        assertEq(_state(id), uint8(IGovernor.ProposalState.Pending));

        skipTo(snapshot + 1);
        assertEq(_state(id), uint8(IGovernor.ProposalState.Active));
        _voteByAll(id);
        (uint256 against, uint256 inFavour, uint256 abstain) = council.proposalVotes(id);
        assertEq(against, 0);
        assertEq(inFavour, 3);
        assertEq(abstain, 0);

        skipTo(snapshot + VOTING_PERIOD + 1);
        assertEq(_state(id), uint8(IGovernor.ProposalState.Succeeded));
        vm.prank(stranger);
        council.queue(targets, values, calls, WHY);
        assertEq(_state(id), uint8(IGovernor.ProposalState.Queued));
        assertEq(council.proposalEta(id), block.timestamp + TIMELOCK_DELAY);

        skipTo(block.timestamp + TIMELOCK_DELAY);
        vm.prank(stranger);
        council.execute(targets, values, calls, WHY);

        assertEq(_state(id), uint8(IGovernor.ProposalState.Executed));
        assertEq(ledger.classOf(GPUS).holdBps, HOLD_BPS - 500);
        assertEq(ledger.headroom(GPUS, provider), FLOOR * (HOLD_BPS - 500) / 10_000);
    }

    /// Loosening waits again after its execution, in public, and is then carried out by anyone.
    function testLoosenAHoldingLimit() public {
        decide(system.ledger, abi.encodeCall(ISettings.change, (HOLD, GPUS, HOLD_BPS + 500)));
        assertEq(ledger.classOf(GPUS).holdBps, HOLD_BPS);

        skipTo(block.timestamp + LOOSEN_DELAY);
        vm.prank(stranger);
        ledger.enact(HOLD, GPUS);

        assertEq(ledger.classOf(GPUS).holdBps, HOLD_BPS + 500);
    }

    /// A class, and the quorums: all that the council changes beside settings.
    function testAddAClassAndASigner() public {
        ILedger.ClassParams memory p =
            ILedger.ClassParams("compute/b200", Kind.COMPUTE, "B200 GPU", HOLD_BPS, USE_BPS, 3, FLOOR);
        decide(system.ledger, abi.encodeCall(ILedger.createClass, (p)));
        assertEq(ledger.classOf(keccak256("compute/b200")).holdBps, HOLD_BPS);

        address out = members.attesters()[0];
        decide(system.members, abi.encodeCall(IQuorum.removeSigner, (out)));
        assertFalse(members.isAttester(out));
        decide(system.members, abi.encodeCall(ISettings.abdicate, ("signers", 0)));
        assertTrue(members.isAbdicated("signers", 0));
    }

    function testExecuteBeforeTheTimelockIsDue(uint256 early) public {
        early = bound(early, 0, TIMELOCK_DELAY - 1);
        uint256 id = _queued();
        skipTo(council.proposalEta(id) - TIMELOCK_DELAY + early);
        bytes32 operation = timelock.hashOperationBatch(targets, values, calls, 0, bytes20(system.council) ^ WHY);
        vm.expectRevert(
            abi.encodeWithSelector(
                TimelockController.TimelockUnexpectedOperationState.selector,
                operation,
                bytes32(1 << uint8(TimelockController.OperationState.Ready))
            )
        );
        council.execute(targets, values, calls, WHY);
    }

    function testExecuteTwice() public {
        uint256 id = _queued();
        skipTo(council.proposalEta(id));
        council.execute(targets, values, calls, WHY);
        vm.expectRevert(_unexpected(id, IGovernor.ProposalState.Executed, IGovernor.ProposalState.Queued));
        council.execute(targets, values, calls, WHY);
    }

    function testQueueWhatWasNotDecided() public {
        uint256 id = _propose(provider, system.ledger, abi.encodeCall(ISettings.change, (HOLD, GPUS, HOLD_BPS - 500)));
        vm.expectRevert(_unexpected(id, IGovernor.ProposalState.Pending, IGovernor.ProposalState.Succeeded));
        council.queue(targets, values, calls, WHY);
        skipTo(council.proposalSnapshot(id) + 1);
        vm.expectRevert(_unexpected(id, IGovernor.ProposalState.Active, IGovernor.ProposalState.Succeeded));
        council.queue(targets, values, calls, WHY);
        skipTo(council.proposalDeadline(id) + 1);
        vm.expectRevert(_unexpected(id, IGovernor.ProposalState.Defeated, IGovernor.ProposalState.Succeeded));
        council.queue(targets, values, calls, WHY);
    }

    /// What was decided is what is executed, to the byte.
    function testExecuteAnotherCallThanDecided(uint256 bps) public {
        vm.assume(bps != HOLD_BPS - 500);
        uint256 id = _queued();
        skipTo(council.proposalEta(id));
        calls[0] = abi.encodeCall(ISettings.change, (HOLD, GPUS, bps));
        uint256 other = council.hashProposal(targets, values, calls, WHY);
        vm.expectRevert(abi.encodeWithSelector(IGovernor.GovernorNonexistentProposal.selector, other));
        council.execute(targets, values, calls, WHY);
    }

    function testProposeWithoutAVote(address account) public {
        vm.assume(!isMember(account));
        _refuseToPropose(account);
        attach(affiliate, provider);
        skipTo(block.timestamp + 1);
        _refuseToPropose(affiliate);
        skipTo(UNTIL);
        _refuseToPropose(developer);
    }

    /// Before the vote only, and only who proposed it; no guardian.
    function testCancel() public {
        uint256 id = _propose(provider, system.ledger, abi.encodeCall(ISettings.change, (HOLD, GPUS, HOLD_BPS - 500)));
        vm.prank(developer);
        vm.expectRevert(abi.encodeWithSelector(IGovernor.GovernorUnableToCancel.selector, id, developer));
        council.cancel(targets, values, calls, WHY);

        uint256 before = vm.snapshotState();
        vm.prank(provider);
        council.cancel(targets, values, calls, WHY);
        assertEq(_state(id), uint8(IGovernor.ProposalState.Canceled));

        vm.revertToState(before);
        skipTo(council.proposalSnapshot(id) + 1);
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(IGovernor.GovernorUnableToCancel.selector, id, provider));
        council.cancel(targets, values, calls, WHY);
    }

    /* WHAT NEVER CHANGES */

    /// The rules of the council: no proposal changes them.
    function testRulesAreFixed() public {
        _refuseToDecide(system.council, abi.encodeCall(GovernorTimelockControl.updateTimelock, (timelock)));
        _refuseToDecide(system.council, abi.encodeCall(Governor.relay, (system.timelock, 0, "")));
    }

    /// OpenZeppelin's timelock takes an admin and keeps it: this timelock has no key, and gets none.
    function testRolesAndDelayAreFixed() public {
        bytes32 role = timelock.PROPOSER_ROLE();
        _refuseToDecide(system.timelock, abi.encodeCall(IAccessControl.grantRole, (role, provider)));
        _refuseToDecide(system.timelock, abi.encodeCall(IAccessControl.revokeRole, (role, system.council)));
        _refuseToDecide(system.timelock, abi.encodeCall(IAccessControl.renounceRole, (role, system.timelock)));
        _refuseToDecide(system.timelock, abi.encodeCall(TimelockController.updateDelay, (0)));
    }

    function testRulesAreFixedForEverybody(address sender) public {
        bytes32 role = timelock.PROPOSER_ROLE();
        vm.startPrank(sender);
        vm.expectRevert(ICouncil.Fixed.selector);
        council.relay(system.timelock, 0, "");
        vm.expectRevert(ICouncil.Fixed.selector);
        council.updateTimelock(timelock);
        vm.expectRevert(ICouncil.Fixed.selector);
        timelock.grantRole(role, sender);
        vm.expectRevert(ICouncil.Fixed.selector);
        timelock.revokeRole(role, system.council);
        vm.expectRevert(ICouncil.Fixed.selector);
        timelock.renounceRole(role, sender);
        vm.expectRevert(ICouncil.Fixed.selector);
        timelock.updateDelay(0);
    }

    /// The timelock takes orders from the council alone, and nothing but the timelock's own delay stands after them.
    function testOnlyTheCouncilSchedules(address sender) public {
        vm.assume(sender != system.council);
        bytes32 proposer = timelock.PROPOSER_ROLE();
        bytes32 canceller = timelock.CANCELLER_ROLE();
        uint256 id = _queued();
        bytes32 operation = timelock.hashOperationBatch(targets, values, calls, 0, bytes20(system.council) ^ WHY);
        vm.startPrank(sender);
        vm.expectRevert(_missing(sender, proposer));
        timelock.schedule(system.ledger, 0, calls[0], 0, "salt", TIMELOCK_DELAY);
        vm.expectRevert(_missing(sender, proposer));
        timelock.scheduleBatch(targets, values, calls, 0, "salt", TIMELOCK_DELAY);
        vm.expectRevert(_missing(sender, canceller));
        timelock.cancel(operation);
        vm.stopPrank();

        assertEq(_state(id), uint8(IGovernor.ProposalState.Queued));
    }

    function testRolesOfTheTimelock(address account) public view {
        vm.assume(account != system.council && account != system.timelock && account != address(0));
        bytes32[4] memory roles = [
            timelock.DEFAULT_ADMIN_ROLE(), timelock.PROPOSER_ROLE(), timelock.CANCELLER_ROLE(), timelock.EXECUTOR_ROLE()
        ];
        for (uint256 i; i < roles.length; ++i) {
            assertFalse(timelock.hasRole(roles[i], account));
            assertFalse(timelock.hasRole(roles[i], address(this)), "the deployer");
        }
        assertTrue(timelock.hasRole(roles[1], system.council));
        assertTrue(timelock.hasRole(roles[2], system.council));
        assertTrue(timelock.hasRole(roles[3], address(0)), "anyone executes");
        assertEq(timelock.getMinDelay(), TIMELOCK_DELAY);
    }

    /* CONSTRUCTORS */

    function testRules() public view {
        assertEq(council.votingDelay(), VOTING_DELAY);
        assertEq(council.votingPeriod(), VOTING_PERIOD);
        assertEq(council.proposalThreshold(), 1);
        assertEq(council.clock(), block.timestamp);
        assertEq(council.CLOCK_MODE(), members.CLOCK_MODE());
        assertEq(council.COUNTING_MODE(), "support=bravo&quorum=for,abstain");
        assertEq(council.quorumBps(), QUORUM_BPS);
        assertEq(council.MIN_QUORUM(), 3);
        assertEq(council.LATE_EXTENSION(), 1 days);
        assertEq(council.members(), system.members);
    }

    function testConstructorBadRules(uint48 delay, uint32 period, uint16 bps) public {
        uint48 badDelay = delay < 1 hours ? delay : uint48(bound(delay, 30 days + 1, type(uint48).max));
        uint32 badPeriod = period < 1 days ? period : uint32(bound(period, 60 days + 1, type(uint32).max));
        uint16 badBps = bps < 1_000 ? bps : uint16(bound(bps, 6_668, type(uint16).max));
        _refuseRules(badDelay, VOTING_PERIOD, QUORUM_BPS);
        _refuseRules(VOTING_DELAY, badPeriod, QUORUM_BPS);
        _refuseRules(VOTING_DELAY, VOTING_PERIOD, badBps);
    }

    function testConstructorBadTimelockDelay(uint256 delay) public {
        delay = delay < 1 days ? delay : bound(delay, 30 days + 1, type(uint256).max);
        refuseToMake(
            abi.encodePacked(vm.getCode("Timelock.sol:Timelock"), abi.encode(delay, system.council)),
            abi.encodeWithSignature("BadDelay(uint256,uint256,uint256)", delay, 1 days, 30 days)
        );
    }

    function testConstructorsAtTheBounds() public {
        system.council = vm.computeCreateAddress(address(this), vm.getNonce(address(this)));
        deployCode("Council.sol:Council", abi.encode(1 hours, 1 days, 1_000, system));
        system.council = vm.computeCreateAddress(address(this), vm.getNonce(address(this)));
        deployCode("Council.sol:Council", abi.encode(30 days, 60 days, 6_667, system));
        deployCode("Timelock.sol:Timelock", abi.encode(1 days, system.council));
        deployCode("Timelock.sol:Timelock", abi.encode(30 days, system.council));
    }

    function testConstructorOfNobody() public {
        bytes memory zero = abi.encodeWithSelector(ZeroAddress.selector);
        refuseToMake(abi.encodePacked(vm.getCode("Timelock.sol:Timelock"), abi.encode(2 days, address(0))), zero);
        address made = vm.computeCreateAddress(address(this), vm.getNonce(address(this)));
        bytes memory code = vm.getCode("Council.sol:Council");
        refuseToMake(
            abi.encodePacked(code, abi.encode(VOTING_DELAY, VOTING_PERIOD, QUORUM_BPS, system)),
            abi.encodeWithSelector(NotSelf.selector, system.council, made)
        );
        system.members = address(0);
        refuseToMake(abi.encodePacked(code, abi.encode(VOTING_DELAY, VOTING_PERIOD, QUORUM_BPS, system)), zero);
    }

    function _propose(address proposer, address target, bytes memory data) private returns (uint256 id) {
        (targets, values, calls) = (new address[](1), new uint256[](1), new bytes[](1));
        (targets[0], calls[0]) = (target, data);
        vm.prank(proposer);
        return council.propose(targets, values, calls, "why");
    }

    function _voteByAll(uint256 id) private {
        address[3] memory voters = [provider, affiliate, developer];
        for (uint256 i; i < voters.length; ++i) {
            vm.prank(voters[i]);
            council.castVote(id, 1);
        }
    }

    /// Decided, and in the timelock.
    function _queued() private returns (uint256 id) {
        return _queued(system.ledger, abi.encodeCall(ISettings.change, (HOLD, GPUS, HOLD_BPS - 500)));
    }

    function _queued(address target, bytes memory data) private returns (uint256 id) {
        id = _propose(provider, target, data);
        skipTo(council.proposalSnapshot(id) + 1);
        _voteByAll(id);
        skipTo(council.proposalDeadline(id) + 1);
        council.queue(targets, values, calls, WHY);
    }

    /// Voted for by all, and refused all the same.
    function _refuseToDecide(address target, bytes memory data) private {
        uint256 before = vm.snapshotState();
        uint256 id = _queued(target, data);
        skipTo(council.proposalEta(id));
        vm.expectRevert(ICouncil.Fixed.selector);
        council.execute(targets, values, calls, WHY);
        vm.revertToState(before);
    }

    function _refuseToPropose(address account) private {
        (targets, values, calls) = (new address[](1), new uint256[](1), new bytes[](1));
        vm.prank(account);
        vm.expectRevert(abi.encodeWithSelector(IGovernor.GovernorInsufficientProposerVotes.selector, account, 0, 1));
        council.propose(targets, values, calls, "why");
    }

    function _refuseRules(uint48 delay, uint32 period, uint16 bps) private {
        system.council = vm.computeCreateAddress(address(this), vm.getNonce(address(this)));
        refuseToMake(
            abi.encodePacked(vm.getCode("Council.sol:Council"), abi.encode(delay, period, bps, system)),
            abi.encodeWithSelector(ICouncil.BadRules.selector, delay, period, bps)
        );
    }

    function _state(uint256 id) private view returns (uint8) {
        return uint8(council.state(id));
    }

    function _missing(address sender, bytes32 role) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, sender, role);
    }

    function _unexpected(uint256 id, IGovernor.ProposalState is_, IGovernor.ProposalState expected)
        private
        pure
        returns (bytes memory)
    {
        return abi.encodeWithSelector(
            IGovernor.GovernorUnexpectedProposalState.selector, id, is_, bytes32(1 << uint8(expected))
        );
    }
}
